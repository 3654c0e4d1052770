"""The matrix product of many tokens: panels of weights times tiles of tokens (`tile.py` draws both).

Two panels, 32 weight rows, are unpacked for a stretch of columns that stays in the nearest cache and
meet every tile of tokens; the sums wait in a small scratch between stretches:

    for each stretch of columns
        unpack the two panels
        for each tile: sums += panels x tile
"""

from __future__ import annotations

from typing import Any

from .. import isa
from ..tiles import STRETCH, record_bytes
from .formats import native_format
from .memory import inline
from .panel import unpack_float_panel
from .tile import make_accumulators, make_block_step, make_float_step, panel_bytes


def make_product(format_name: str) -> Any:
    """`product(rows_0, rows_1, stride, columns, tiles, n_tiles, panel, sums)` for a tensor type.

    Multiplies the 16 rows at `rows_0` and the 16 at `rows_1`, each `stride` bytes from the next, with
    `n_tiles` tiles. `panel` is scratch. The result is left in `sums`, float32
    [tile][2 panels][token in tile][16 rows].
    """
    kind = native_format(format_name)
    return _make_float_product(kind) if kind.FLOAT else _make_integer_product(kind)


def _make_integer_product(kind: Any) -> Any:
    level = isa.current()
    panels, tile = level.panels, level.tile
    zero, load, save = make_accumulators(panels, tile)
    step = make_block_step(panels, tile, kind.GROUP, kind.HAS_MINIMUM, kind.WIDE)
    unpack = kind.unpack_panel
    one_panel = panel_bytes(kind.GROUP, kind.HAS_MINIMUM)
    record = record_bytes(tile)
    stretch = STRETCH // 32
    passes = 2 // panels

    @inline
    def product(rows_0, rows_1, stride, columns, tiles, n_tiles, panel, sums):
        blocks = columns // 32
        for first in range(0, blocks, stretch):
            count = min(stretch, blocks - first)
            # Panels that are multiplied together lie block by block, others one after the other.
            for block in range(count):
                at = panel + (2 * block if panels == 2 else block) * one_panel
                unpack(rows_0, stride, first + block, at)
                unpack(rows_1, stride, first + block, at + (1 if panels == 2 else stretch) * one_panel)
            for t in range(n_tiles):
                for half in range(passes):
                    saved = sums + (t * passes + half) * panels * tile * 64
                    accumulators = zero() if first == 0 else load(saved)
                    weights = panel + half * stretch * one_panel
                    x = tiles + (t * blocks + first) * record
                    for block in range(count):
                        accumulators = step(accumulators, weights + block * panels * one_panel, x)
                        x += record
                    save(saved, accumulators)

    return product


def _make_float_product(kind: Any) -> Any:
    level = isa.current()
    panels, tile = level.panels, level.tile
    zero, load, save = make_accumulators(panels, tile)
    step = make_float_step(panels, tile)
    load_16, load_1, width = kind.load_16, kind.load_1, kind.WIDTH
    unpack = unpack_float_panel(load_16, load_1, width)
    passes = 2 // panels
    stretch = STRETCH // 4
    column = 64 * panels

    @inline
    def product(rows_0, rows_1, stride, columns, tiles, n_tiles, panel, sums):
        for first in range(0, columns, stretch):
            count = min(stretch, columns - first)
            unpack(rows_0 + first * width, stride, count, panel, column)
            unpack(
                rows_1 + first * width, stride, count, panel + (64 if panels == 2 else stretch * 64), column
            )
            for t in range(n_tiles):
                for half in range(passes):
                    saved = sums + (t * passes + half) * panels * tile * 64
                    accumulators = zero() if first == 0 else load(saved)
                    weights = panel + half * stretch * 64
                    x = tiles + (t * columns + first) * 4 * tile
                    for i in range(count):
                        accumulators = step(accumulators, weights + i * column, x + i * 4 * tile)
                    save(saved, accumulators)

    return product
