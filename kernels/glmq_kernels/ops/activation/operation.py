"""Preparing rows for products, and bringing each expert's tokens together."""

from __future__ import annotations

from ...threads.tape import Tape, UnlessOne
from ..batch_part import EVERY_TOKEN, BatchPart
from ..batch_state import N_TOKENS
from ..operands import Activation, Routing
from .arguments import GatherTiles, PrepareRows


def prepare_rows(tape: Tape, activation: Activation, part: BatchPart = EVERY_TOKEN) -> None:
    """Bring the rows of a batch's tokens into the forms that products want."""
    tape.add(
        "ops.activation.kernel.prepare_rows",
        PrepareRows,
        activation=activation.address,
        count_slot=part.count_slot,
        row_form_slot=part.row_form_slot,
    )


def gather_tiles(
    tape: Tape, source: Activation, target: Activation, routing: Routing, part: BatchPart = EVERY_TOKEN
) -> None:
    """Bring each expert's tokens of the panel form together."""
    tape.add(
        "ops.activation.kernel.gather_tiles",
        GatherTiles,
        count_slot=part.count_slot,
        source=source.address,
        target=target.address,
        routing=routing.address,
        barrier=UnlessOne(N_TOKENS),
    )
