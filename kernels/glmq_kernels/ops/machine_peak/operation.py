"""Measuring what a thread pool can do at most on this machine, to compare with."""

from __future__ import annotations

import time

import numpy as np

from ...arrays import address_of, aligned_zeros
from ...jit import isa
from ...threads.tape import Tape
from ...threads.thread_pool import ThreadPool
from .arguments import FACTOR_BYTES, MultiplyBytes, ReadMemory

TRIES = 5
DOTS_PER_REPETITION = 8
REPETITIONS = 400_000


def read_bandwidth(thread_pool: ThreadPool, memory: np.ndarray) -> float:
    """Bytes per second at which the pool reads uint8 memory from one end to the other, the best of some."""
    size = memory.size // 256 * 256
    tape = Tape(1, thread_pool.n_threads)
    out = aligned_zeros(64 * thread_pool.n_threads)
    tape.add(
        "ops.machine_peak.kernel.read_memory",
        ReadMemory,
        address=address_of(memory),
        n_bytes=size,
        out=address_of(out),
    )
    return size / _best_seconds(tape, thread_pool)


def dot_peak(thread_pool: ThreadPool) -> float:
    """Multiply-adds per second of the int8 dot product with everything in registers, the best of some.

    On AVX2, which has no such instruction, of the products alone.
    """
    tape = Tape(1, thread_pool.n_threads)
    factors, out = aligned_zeros(FACTOR_BYTES), aligned_zeros(64 * thread_pool.n_threads)
    in_pairs = isa.current().dot == "maddubs"
    tape.add(
        f"ops.machine_peak.kernel.{'multiply_byte_pairs' if in_pairs else 'multiply_bytes'}",
        MultiplyBytes,
        repetitions=REPETITIONS,
        factors=address_of(factors),
        out=address_of(out),
    )
    width = 32 if in_pairs else 64
    done = thread_pool.n_threads * REPETITIONS * DOTS_PER_REPETITION * width
    return done / _best_seconds(tape, thread_pool)


def _best_seconds(tape: Tape, thread_pool: ThreadPool) -> float:
    tape.finish()
    best = float("inf")
    for _ in range(TRIES):
        began = time.perf_counter()
        tape.run(thread_pool)
        best = min(best, time.perf_counter() - began)
    return best
