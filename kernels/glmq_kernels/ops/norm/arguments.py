"""What `kernel.rms` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class RmsNorm(ArgumentRecord):
    """Out = source / rms(source) * weight."""

    COUNT_SLOT = auto()  # of the state: how many rows
    FIRST_SLOT = auto()  # of the state: the first row; -1: row 0
    SOURCE = auto()  # float32 (n, columns)
    COLUMNS = auto()
    WEIGHT = auto()  # float32 (columns,)
    EPSILON = auto()  # float
    OUT = auto()  # an activation
