"""Preparing rows, and gathering each expert's tokens, as operations."""

from __future__ import annotations

from ...gemm.activation import TILE, gather, prepare
from ...gemm.activation_record import ACTIVATION_COLUMNS
from ...simd.addresses import argument, inline, load_i64
from ...threads.argument_record import STATE
from ..routing.record import (
    ROUTING_IN_ROW_FORM,
    ROUTING_N_EXPERTS,
    ROUTING_OFFSETS,
    ROUTING_ORDER,
    ROUTING_TILE_OFFSETS,
    ROUTING_TOP_K,
)
from .arguments import GatherTiles, PrepareRows


@inline
def prepare_row(activation, t, in_row_form, first, last):
    """Prepare columns of a batch's row: those of the panel form, behind the others, have places in tiles."""
    place = t - in_row_form
    tile = place // TILE if place >= 0 else -1
    prepare(activation, t, tile, place % TILE, first, last)


def prepare_rows(args, thread, threads):
    """Prepare whole rows."""
    activation, state = argument(args, PrepareRows.ACTIVATION), argument(args, STATE)
    n = argument(state, argument(args, PrepareRows.COUNT_SLOT))
    in_row_form = argument(state, argument(args, PrepareRows.ROW_FORM_SLOT))
    columns = argument(activation, ACTIVATION_COLUMNS)
    for t in range(n * thread // threads, n * (thread + 1) // threads):
        prepare_row(activation, t, in_row_form, 0, columns)


def gather_tiles(args, thread, threads):
    """Bring each expert's tokens of the panel form together in tiles of their own.

    The source's rows are prepared. With one token there is nothing to do.
    """
    state, source, target, routing = (
        argument(args, STATE),
        argument(args, GatherTiles.SOURCE),
        argument(args, GatherTiles.TARGET),
        argument(args, GatherTiles.ROUTING),
    )
    if argument(state, argument(args, GatherTiles.COUNT_SLOT)) > 1:
        top_k, order = argument(routing, ROUTING_TOP_K), argument(routing, ROUTING_ORDER)
        for expert in range(argument(routing, ROUTING_N_EXPERTS)):
            offsets = argument(routing, ROUTING_OFFSETS) + 8 * expert
            first = load_i64(offsets) + load_i64(argument(routing, ROUTING_IN_ROW_FORM) + 8 * expert)
            tile_0 = load_i64(argument(routing, ROUTING_TILE_OFFSETS) + 8 * expert)
            for i in range(first, load_i64(offsets + 8)):
                if i % threads == thread:
                    place = i - first
                    token = load_i64(order + 8 * i) // top_k
                    gather(source, target, token, tile_0 + place // TILE, place % TILE)
