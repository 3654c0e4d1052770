"""What `kernel.rows` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class Embed(ArgumentRecord):
    """Out = rows of the embedding matrix."""

    MATRIX = auto()
    ROW_BYTES = auto()
    COLUMNS = auto()
    OUT = auto()  # float32 (n_tokens, columns)
