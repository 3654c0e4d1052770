"""What the kernels of the thread pool are told."""

from __future__ import annotations

from enum import auto

from ..jit.call_record import CallRecord


class PoolCall(CallRecord):
    """Of `initialize`, `lead`, `serve` and `stop`."""

    SHARED = auto()  # the pool's shared state
