"""What the kernels that quantize are told, and what they and their caller agree on."""

from __future__ import annotations

from enum import auto

from ...jit.call_record import CallRecord

SOURCE_KINDS = {"F32": 0, "F16": 1, "BF16": 2}


class QuantizeRows(CallRecord):
    """Rows of weights to blocks of a tensor type, whatever the type.

    Rows lie one behind the other, in the source as in the output, and so do blocks.
    """

    SOURCE = auto()  # weights
    SOURCE_KIND = auto()  # one of `SOURCE_KINDS`
    N_WEIGHTS = auto()  # of all rows together, a multiple of the type's block (32 for float types)
    COLUMNS = auto()  # weights of a row
    OUT = auto()  # the blocks of the tensor type
    IMPORTANCE = auto()  # float32 (COLUMNS,), the mean of x² of each input column, or 0
    TYPE = auto()  # of a grid type, the record of `grid_types.py`; else 0
    SCRATCH = auto()  # memory for the kernel, aligned to 64 bytes, as much as the table of types says
    LARGEST = auto()  # int64 to fill: the bits of the largest magnitude
