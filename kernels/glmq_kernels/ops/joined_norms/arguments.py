"""What `kernel.join` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class JoinedNorms(ArgumentRecord):
    """Out = first / rms(first) * its weight | second / rms(second) * its weight."""

    FIRST = auto()  # float32 (n_tokens, columns)
    SECOND = auto()  # float32 (n_tokens, columns)
    COLUMNS = auto()
    FIRST_WEIGHT = auto()  # float32 (columns,)
    SECOND_WEIGHT = auto()  # float32 (columns,)
    EPSILON = auto()  # float
    OUT = auto()  # an activation of 2 * columns
