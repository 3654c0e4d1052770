"""What the kernels `prepare_rows` and `gather_tiles` are told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord


class PrepareRows(ArgumentRecord):
    """Rows brought into the forms in which products want them."""

    ACTIVATION = auto()
    COUNT_SLOT = auto()  # of the state: how many rows
    ROW_FORM_SLOT = auto()  # of the state: how many of them take the row form


class GatherTiles(ArgumentRecord):
    """Each expert's tokens brought together in tiles of their own."""

    COUNT_SLOT = auto()  # of the state: how many tokens
    SOURCE = auto()  # an activation whose rows are prepared
    TARGET = auto()  # one whose tiles are filled
    ROUTING = auto()
