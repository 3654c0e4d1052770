"""Where a thread pool's board keeps what its threads share: byte offsets, a cache line each."""

from __future__ import annotations

OPERATIONS = 0
N_OPERATIONS = 8
STOPPED = 16
POSTED = 64
BARRIER_COUNT = 128
BARRIER_TURN = 192
PARKED = 256
LOCK = 320
"""Room for the system's lock and condition (`threads/sleeping.py`)."""
CONDITION = 448

BOARD_BYTES = 576
