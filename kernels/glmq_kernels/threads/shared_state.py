"""Where a thread pool's shared state keeps what its threads tell each other: byte offsets, by cache lines."""

from __future__ import annotations

OPERATIONS = 0
"""Address of the operations to run."""
N_OPERATIONS = 8
STOPPED = 16
SPINS = 24
"""How often a waiting thread looks before it yields its core in between."""
YIELDS = 32
"""How often it does that before it sleeps."""
N_POSTED = 64
"""Runs that have been posted to the helper threads."""
N_ARRIVED = 128
"""Threads that wait at the barrier."""
N_BARRIERS = 192
"""Barriers that all threads have reached."""
N_SLEEPING = 256
LOCK = 320
"""Room for the system's lock and condition (`sleeping.py`)."""
CONDITION = 448

SHARED_BYTES = 576
