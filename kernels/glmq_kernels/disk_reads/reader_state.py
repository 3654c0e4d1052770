"""Where the shared state of reading threads, and their requests, keep what they tell: byte offsets."""

from __future__ import annotations

from ..threads.shared_state import SHARED_BYTES

# The lock, and the condition on which whoever waits for results sleeps, are where a thread pool has them.
URGENT_HEAD = 0
URGENT_TAIL = 8
STOPPED = 16
IDLE_HEAD = 24
IDLE_TAIL = 32
ACTIVE = 40  # urgent requests that are being read
READ = 48  # address of the kernel that fulfils a request
FINISHED = 64  # requests that were read, failed or were taken back
WORK = SHARED_BYTES  # the condition on which reading threads sleep

RING_LENGTH = 65536
URGENT_RING = WORK + 128
IDLE_RING = URGENT_RING + 8 * RING_LENGTH
READER_BYTES = IDLE_RING + 8 * RING_LENGTH

# A request.
REQUEST_FILE = 0  # file descriptor, or Windows' handle
REQUEST_OFFSET = 8
REQUEST_BYTES = 16
REQUEST_ADDRESS = 24
REQUEST_RESULT = 32  # bytes read, minus the system's error number, or:
REQUEST_IDLE = 40  # whether it came from the idle ring
REQUEST_SLOTS = 8

PENDING = -(1 << 40)
DROPPED = -(1 << 41)
