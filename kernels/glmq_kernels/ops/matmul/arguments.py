"""What `kernel.matmul` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentPart, ArgumentRecord


class Matmul(ArgumentRecord):
    """Products of one activation with matrices, each a `MatmulMatrix` behind this."""

    COUNT_SLOT = auto()  # of the state: how many tokens
    ROW_FORM_SLOT = auto()  # of the state: how many of them take the row form
    ACTIVATION = auto()
    ACCUMULATE = auto()  # 1: added to what is there
    SCRATCH = auto()
    SCRATCH_BYTES = auto()  # of a thread
    SUMS_OFFSET = auto()  # where in a thread's scratch the sums of panels are
    N_MATRICES = auto()


class MatmulMatrix(ArgumentPart):
    """One matrix, its output, and the kernels of its type."""

    WEIGHT = auto()
    ROW_BYTES = auto()
    ROWS = auto()
    OUT = auto()  # float32 (n, rows); 0: the state's logits
    BIAS = auto()  # float32 (rows,), or 0
    DOT_ROWS = auto()
    MULTIPLY = auto()
