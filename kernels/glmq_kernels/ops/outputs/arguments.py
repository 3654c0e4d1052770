"""What `kernel.gather_outputs` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class GatherOutputs(ArgumentRecord):
    """Rows of the tokens whose outputs are wanted, brought together."""

    FIRST_SLOT = auto()  # of the state: the first output; -1: from 0 on
    LAST_SLOT = auto()  # of the state: the one behind the last
    SOURCE = auto()  # float32 (n_tokens, columns)
    OUT = auto()  # float32 (n_outputs, columns)
    COLUMNS = auto()
    PREPARED = auto()  # the activation that has OUT as its rows and is prepared too, or 0
