"""Rows of a weight matrix times many tokens: panels of weights times tiles of tokens (`tile.py`).

Like `gemv.py` this is a kernel of a tensor type, found by address. Two panels, 32 weight rows, are
unpacked for a stretch of columns that stays in the nearest cache and meet every tile of tokens; the sums
wait in memory between stretches:

    for each stretch of columns
        unpack the two panels
        for each tile: sums += panels x tile
"""

from __future__ import annotations

from typing import Any

from .. import isa
from ..slots import ACTIVATION_COLUMNS, ACTIVATION_FLOAT_TILES, ACTIVATION_TILES
from ..tiles import PANEL_BUFFER_BYTES, PANEL_SCRATCH_BYTES, STRETCH, record_bytes
from .formats import native_format
from .memory import argument, copy_bytes, inline, zero_bytes
from .panel import make_unpack_float_panel, make_unpack_panel
from .tile import make_accumulators, make_block_step, make_float_step, make_minimum_step, panel_bytes


def multiply(format_name: str) -> Any:
    """Kernel: up to 32 rows times tiles.

    rows, bytes from a row to the next, number of rows, activation, its first tile, number of tiles,
    scratch (PANEL_SCRATCH_BYTES, PANEL_BUFFER_BYTES and 32 rows), sums. The result is left in the sums,
    float32 [tile][2][token in tile][16 rows].
    """
    kind = native_format(format_name)
    product = _make_float_product(kind) if kind.FLOAT else _make_integer_product(kind)

    def kernel(rows, stride, count, activation, tile, n_tiles, scratch, sums):
        spare = scratch + PANEL_SCRATCH_BYTES + PANEL_BUFFER_BYTES
        rows_0 = _whole_rows(rows, stride, count, spare)
        rows_1 = _whole_rows(rows + 16 * stride, stride, count - 16, spare + 16 * stride)
        product(rows_0, rows_1, stride, activation, tile, n_tiles, scratch, sums)

    return kernel


@inline
def _whole_rows(rows, stride, count, spare):
    """Address of 16 readable rows, the first `count` those at `rows`; a copy where they end early."""
    if count >= 16:
        return rows
    zero_bytes(spare, 16 * stride)
    if count > 0:
        copy_bytes(spare, rows, count * stride)
    return spare


def _make_integer_product(kind: Any) -> Any:
    level = isa.current()
    panels, tile = level.panels, level.tile
    zero, load, save = make_accumulators(panels, tile)
    step = make_block_step(panels, tile, kind.GROUP, kind.HAS_MINIMUM, kind.LARGEST)
    has_minimum, add_minima = kind.HAS_MINIMUM, make_minimum_step(panels, tile, kind.GROUP)
    unpack_panel, size = make_unpack_panel(kind), kind.BYTES
    one_panel = panel_bytes(kind.GROUP, kind.HAS_MINIMUM)
    record = record_bytes(tile)
    stretch = STRETCH // 32
    passes = 2 // panels
    # Panels that are multiplied together lie block by block, others one after the other.
    block_stride, second = panels * one_panel, (1 if panels == 2 else stretch) * one_panel

    @inline
    def product(rows_0, rows_1, stride, activation, first_tile, n_tiles, scratch, sums):
        blocks = argument(activation, ACTIVATION_COLUMNS) // 32
        tiles = argument(activation, ACTIVATION_TILES) + first_tile * blocks * record
        buffer = scratch + PANEL_SCRATCH_BYTES
        for first in range(0, blocks, stretch):
            count = min(stretch, blocks - first)
            for block in range(0, count, 8):
                at = (first + block) // 8 * size
                panel = scratch + block * block_stride
                some = min(8, count - block)
                unpack_panel(rows_0 + at, stride, some, panel, block_stride, buffer)
                unpack_panel(rows_1 + at, stride, some, panel + second, block_stride, buffer)
            for t in range(n_tiles):
                for half in range(passes):
                    saved = sums + (t * passes + half) * panels * tile * 64
                    accumulators = zero() if first == 0 else load(saved)
                    weights = scratch + half * stretch * one_panel
                    x = tiles + (t * blocks + first) * record
                    for block in range(count):
                        accumulators = step(accumulators, weights + block * block_stride, x + block * record)
                    if has_minimum:
                        for block in range(count):
                            at = weights + block * block_stride
                            accumulators = add_minima(accumulators, at, x + block * record)
                    save(saved, accumulators)

    return product


def _make_float_product(kind: Any) -> Any:
    level = isa.current()
    panels, tile = level.panels, level.tile
    zero, load, save = make_accumulators(panels, tile)
    step = make_float_step(panels, tile)
    unpack, width = make_unpack_float_panel(kind.load_16, kind.load_1, kind.WIDTH), kind.WIDTH
    passes = 2 // panels
    stretch = STRETCH // 4
    column = 64 * panels
    second = 64 if panels == 2 else stretch * 64

    @inline
    def product(rows_0, rows_1, stride, activation, first_tile, n_tiles, scratch, sums):
        columns = argument(activation, ACTIVATION_COLUMNS)
        tiles = argument(activation, ACTIVATION_FLOAT_TILES) + first_tile * columns * 4 * tile
        for first in range(0, columns, stretch):
            count = min(stretch, columns - first)
            unpack(rows_0 + first * width, stride, count, scratch, column)
            unpack(rows_1 + first * width, stride, count, scratch + second, column)
            for t in range(n_tiles):
                for half in range(passes):
                    saved = sums + (t * passes + half) * panels * tile * 64
                    accumulators = zero() if first == 0 else load(saved)
                    weights = scratch + half * stretch * 64
                    x = tiles + (t * columns + first) * 4 * tile
                    for i in range(count):
                        accumulators = step(accumulators, weights + i * column, x + i * 4 * tile)
                    save(saved, accumulators)

    return product
