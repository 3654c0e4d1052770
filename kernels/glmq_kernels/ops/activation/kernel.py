"""Preparing rows, and gathering each expert's tokens, as operations."""

from __future__ import annotations

from ...gemm.activation import RECORD, TILE, float_tiles, prepare, tile_block
from ...gemm.activation_record import (
    ACTIVATION_COLUMNS,
    ACTIVATION_Q,
    ACTIVATION_ROWS,
    ACTIVATION_SCALE,
    ACTIVATION_SUM16,
    ACTIVATION_TILES,
)
from ...simd.addresses import argument, inline
from ...threads.argument_record import STATE
from ..batch_state import N_TOKENS
from .arguments import GatherTiles, PrepareRows


def prepare_rows(args, thread, threads):
    """Prepare whole rows. Arguments: state, activation, state slot of the token count."""
    activation = argument(args, PrepareRows.ACTIVATION)
    n = argument(argument(args, STATE), argument(args, PrepareRows.COUNT_SLOT))
    columns = argument(activation, ACTIVATION_COLUMNS)
    if n == 1:
        units = (columns + 31) // 32
        first, last = units * thread // threads * 32, units * (thread + 1) // threads * 32
        prepare(activation, 0, -1, 0, first, min(last, columns))
    else:
        for t in range(n * thread // threads, n * (thread + 1) // threads):
            prepare(activation, t, t // TILE, t % TILE, 0, columns)


def gather_tiles(args, thread, threads):
    """Bring each expert's tokens together in tiles of their own.

    Arguments: state, source activation (rows prepared), target activation (its tiles are filled),
    routing. With one token there is nothing to do.
    """
    state, source, target, routing = (
        argument(args, STATE),
        argument(args, GatherTiles.SOURCE),
        argument(args, GatherTiles.TARGET),
        argument(args, GatherTiles.ROUTING),
    )
    if argument(state, N_TOKENS) > 1:
        n_experts, top_k, offsets, tile_offsets, order = _routing(routing)
        for expert in range(n_experts):
            first, last = argument(offsets, expert), argument(offsets, expert + 1)
            tile_0 = argument(tile_offsets, expert)
            for i in range(first, last):
                if i % threads == thread:
                    place = i - first
                    token = argument(order, i) // top_k
                    _gather(source, target, token, tile_0 + place // TILE, place % TILE)


@inline
def _routing(routing):
    return (
        argument(routing, 0),
        argument(routing, 1),
        argument(routing, 4),
        argument(routing, 5),
        argument(routing, 6),
    )


@inline
def _gather(source, target, token, tile, slot):
    columns = argument(source, ACTIVATION_COLUMNS)
    if argument(target, ACTIVATION_TILES):
        blocks = columns // 32
        q = argument(source, ACTIVATION_Q) + token * columns
        scale = argument(source, ACTIVATION_SCALE) + token * blocks * 4
        sum16 = argument(source, ACTIVATION_SUM16) + token * blocks * 8
        record = argument(target, ACTIVATION_TILES) + tile * blocks * RECORD
        for b in range(blocks):
            tile_block(q + 32 * b, scale + 4 * b, sum16 + 8 * b, record + b * RECORD, slot)
    row = argument(source, ACTIVATION_ROWS) + token * columns * 4
    float_tiles(row, target, tile, slot, 0, columns)
