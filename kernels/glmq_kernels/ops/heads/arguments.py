"""What the kernels `gather_heads` and `multiply_heads` are told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class GatherHeads(ArgumentRecord):
    """The first columns of each head become rows of an activation; what follows goes elsewhere."""

    COUNT_SLOT = auto()  # of the state: how many tokens
    ROW_FORM_SLOT = auto()  # of the state: how many of them take the row form
    SOURCE = auto()  # float32 (n, n_heads * source_columns)
    SOURCE_COLUMNS = auto()
    HEADS = auto()  # an activation, whose row t * n_heads + h is head h of token t
    N_HEADS = auto()
    OUT = auto()  # float32 (n, n_heads * out_columns), the end of whose heads takes the rest; 0: nowhere
    OUT_COLUMNS = auto()


class MultiplyHeads(ArgumentRecord):
    """Products of each head with a matrix of its own."""

    COUNT_SLOT = auto()
    ROW_FORM_SLOT = auto()
    HEADS = auto()  # an activation as `GatherHeads` leaves it
    N_HEADS = auto()
    WEIGHT = auto()
    HEAD_BYTES = auto()  # from a head's matrix to the next one's
    ROW_BYTES = auto()
    ROWS = auto()
    DOT_ROWS = auto()
    MULTIPLY = auto()
    OUT = auto()  # float32 (n, n_heads * out_columns), the beginning of whose heads is written
    OUT_COLUMNS = auto()
    PREPARED = auto()  # the activation that has OUT as its rows and is prepared too, or 0
    SCRATCH = auto()
    SCRATCH_BYTES = auto()  # of a thread
    SUMS_OFFSET = auto()  # where in a thread's scratch the sums of panels are
