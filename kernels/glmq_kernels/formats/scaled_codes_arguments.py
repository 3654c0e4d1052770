"""What the kernel that decodes weights of eight bits is told."""

from __future__ import annotations

from enum import auto

from ..jit.call_record import CallRecord


class DecodeRows(CallRecord):
    """Rows of codes to floats: what each stands for, times the scale of its block."""

    CODES = auto()  # uint8 (n_rows, columns)
    N_ROWS = auto()
    COLUMNS = auto()
    TABLE = auto()  # float32 (256,): what the codes stand for
    SCALES = auto()  # float32 (rows of blocks, blocks in a row), of the matrix that the rows are of
    FIRST_ROW = auto()  # of the matrix
    BLOCK_ROWS = auto()
    BLOCK_COLUMNS = auto()
    BLOCKS_IN_ROW = auto()
    OUT = auto()  # float32 (n_rows, columns)
