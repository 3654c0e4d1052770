"""Preparing rows for products, and bringing each expert's tokens together."""

from __future__ import annotations

from ...threads.tape import Tape
from ..batch_state import N_TOKENS
from ..operands import Activation, Routing
from .arguments import GatherTiles, PrepareRows


def prepare_rows(tape: Tape, activation: Activation) -> None:
    """Bring the rows of a batch's tokens into the forms that products want."""
    tape.add(
        "ops.activation.kernel.prepare_rows", PrepareRows, activation=activation.address, count_slot=N_TOKENS
    )


def gather_tiles(tape: Tape, source: Activation, target: Activation, routing: Routing) -> None:
    """Bring each expert's tokens together."""
    tape.add(
        "ops.activation.kernel.gather_tiles",
        GatherTiles,
        source=source.address,
        target=target.address,
        routing=routing.address,
    )
