"""Where a thread team's board keeps what its threads share: byte offsets, a cache line each."""

from __future__ import annotations

OPERATIONS = 0
N_OPERATIONS = 8
STOPPED = 16
POSTED = 64
BARRIER_COUNT = 128
BARRIER_TURN = 192
PARKED = 256
PARKED_STRIDE = 64


def board_bytes(n_threads: int) -> int:
    """Size of the board of a team."""
    return PARKED + PARKED_STRIDE * n_threads
