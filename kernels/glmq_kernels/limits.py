"""Measuring what a team of threads can do at most on this machine, to compare with."""

from __future__ import annotations

import time

import numpy as np

from .memory import address_of, aligned_zeros
from .tape import Tape
from .team import Team

TRIES = 5
DOTS_PER_REPETITION = 8
REPETITIONS = 400_000


def read_bandwidth(team: Team, memory: np.ndarray) -> float:
    """Bytes per second at which the team reads uint8 memory from one end to the other, the best of some."""
    size = memory.size // 256 * 256
    tape = Tape(1, team.n_threads)
    out = aligned_zeros(64 * team.n_threads)
    tape.add("limits.read_memory", address_of(memory), size, address_of(out))
    return size / _best_seconds(tape, team)


def dot_peak(team: Team) -> float:
    """Multiply-adds per second of the int8 dot product with everything in registers, the best of some."""
    tape = Tape(1, team.n_threads)
    factors, out = aligned_zeros(64), aligned_zeros(64 * team.n_threads)
    tape.add("limits.multiply_bytes", REPETITIONS, address_of(factors), address_of(out))
    done = team.n_threads * REPETITIONS * DOTS_PER_REPETITION * 64
    return done / _best_seconds(tape, team)


def _best_seconds(tape: Tape, team: Team) -> float:
    tape.finish()
    best = float("inf")
    for _ in range(TRIES):
        began = time.perf_counter()
        tape.run(team)
        best = min(best, time.perf_counter() - began)
    return best
