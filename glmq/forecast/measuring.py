"""Measuring what this machine does in a second: attention, memory."""

from __future__ import annotations

import statistics
import time

import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.attention.cache_layout import CacheShape
from glmq_kernels.ops.batch_state import N_TOKENS, PAGE_TABLES, POSITIONS
from glmq_kernels.ops.machine_peak.operation import read_bandwidth
from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool

from .figures import AttentionSpeed, MemorySpeed

DEPTH = 4096
MANY_ATTENDING = 128
MEMORY_BYTES = 128 << 20
"""More than what caches hold."""

TRIES = 5


def attention_speed(thread_pool: ThreadPool, n_heads: int, shape: CacheShape) -> AttentionSpeed:
    """How fast one layer's heads look back."""
    one = _attention_seconds(thread_pool, n_heads, shape, 1) / DEPTH
    n = MANY_ATTENDING
    many = _attention_seconds(thread_pool, n_heads, shape, n) / (n * (DEPTH + n / 2))
    return AttentionSpeed(one, many)


def _attention_seconds(thread_pool: ThreadPool, n_heads: int, shape: CacheShape, n_tokens: int) -> float:
    """Seconds of one layer for tokens behind `DEPTH` positions."""
    tape = Tape(n_tokens, thread_pool.n_threads)
    q = ops.float_rows(tape, n_heads * shape.key_dim)
    q.view(np.float32)[:] = 0.01
    planner = ops.attention_planner(tape, shape, n_heads)
    ops.attend(tape, q, ops.new_activation(tape, n_heads * shape.value_dim), planner, 0)
    memory = aligned_zeros(shape.n_bytes(DEPTH + n_tokens))
    memory[:] = 0x11  # small numbers in every type
    table = copy_of(address_of(memory) + np.arange(0, len(memory), shape.page_bytes), np.int64)
    positions = copy_of(np.arange(DEPTH, DEPTH + n_tokens), np.int64)
    tables = copy_of([address_of(table)] * n_tokens, np.int64)
    state = tape.state
    state[N_TOKENS], state[POSITIONS], state[PAGE_TABLES] = (
        n_tokens,
        address_of(positions),
        address_of(tables),
    )
    planner.plan(state, positions, tables)
    return _usual_seconds(tape, thread_pool)


def memory_speed(thread_pool: ThreadPool) -> MemorySpeed:
    """How fast memory is read."""
    memory = aligned_zeros(MEMORY_BYTES)
    memory[:] = 1
    return MemorySpeed(read_bandwidth(thread_pool, memory))


def _usual_seconds(tape: Tape, thread_pool: ThreadPool) -> float:
    """Of a run, when its memory has been touched."""
    tape.finish()
    tape.run(thread_pool)
    seconds = []
    for _ in range(TRIES):
        began = time.perf_counter()
        tape.run(thread_pool)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)
