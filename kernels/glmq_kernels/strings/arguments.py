"""What the kernel that walks over strings is told."""

from __future__ import annotations

from enum import auto

from ..jit.call_record import CallRecord


class WalkStrings(CallRecord):
    """Find the strings that follow each other from a position on."""

    DATA = auto()  # bytes
    SIZE = auto()  # of the data
    START = auto()  # position of the first string's length
    COUNT = auto()  # strings
    OFFSETS = auto()  # int64 (count + 1,) to fill: positions of the lengths, and the end
    N_WALKED = auto()  # int64 to fill: strings that lie within the data
