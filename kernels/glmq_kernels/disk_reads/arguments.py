"""What the kernels of the reading threads are told."""

from __future__ import annotations

from enum import auto

from ..jit.call_record import CallRecord


class ReaderCall(CallRecord):
    """Of `initialize`, `serve`, `drop_idle` and `stop`."""

    SHARED = auto()  # the readers' shared state


class Post(CallRecord):
    """Append requests."""

    SHARED = auto()
    REQUESTS = auto()  # int64 (n_requests,): their addresses
    N_REQUESTS = auto()
    IDLE = auto()  # 1: to be read only while nothing else is


class Wait(CallRecord):
    """Sleep until another number of requests has finished."""

    SHARED = auto()
    N_FINISHED = auto()
