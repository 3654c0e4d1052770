"""What `kernel.rms` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class RmsNorm(ArgumentRecord):
    """Out = source / rms(source) * weight."""

    COUNT_SLOT = auto()  # of the state: how many rows
    ROW_FORM_SLOT = auto()  # of the state: how many of them take the row form
    SOURCE = auto()  # float32 (n, columns)
    COLUMNS = auto()
    WEIGHT = auto()  # float32 (columns,)
    EPSILON = auto()  # float
    OUT = auto()  # an activation
