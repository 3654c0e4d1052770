"""What `kernel.gather` is told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class Gather(ArgumentRecord):
    """Rows that are wanted, brought together."""

    TABLE_SLOT = auto()  # of the state: the address of int64 (n,), the row of each that is wanted
    FIRST_SLOT = auto()  # of the state: the first one; -1: from 0 on
    LAST_SLOT = auto()  # of the state: the one behind the last
    ROW_FORM_SLOT = auto()  # of the state: how many of them take the row form
    SOURCE = auto()  # float32 (rows, columns)
    OUT = auto()  # float32 (n, columns)
    COLUMNS = auto()
    PREPARED = auto()  # the activation that has OUT as its rows and is prepared too, or 0
