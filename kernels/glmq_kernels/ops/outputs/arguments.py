"""What `kernel.gather_outputs` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class GatherOutputs(ArgumentRecord):
    """Rows of the tokens whose outputs are wanted, brought together."""

    STREAM = auto()  # float32 (n_tokens, columns)
    STREAM_OUT = auto()  # float32 (n_outputs, columns)
    STREAM_COLUMNS = auto()
    ATTENDED = auto()  # float32 (n_tokens, columns of the activation)
    ATTENDED_OUT = auto()  # an activation, whose rows are filled and prepared
