"""Rows of a weight matrix times many tokens: panels of weights times tiles of tokens (`tile.py`).

Like `gemv.py` this is a kernel of a tensor type, found by address. Two panels, 32 weight rows, are
unpacked for a stretch of columns that stays in the nearest cache and meet every tile of tokens; the sums
wait in memory between stretches:

    for each stretch of columns
        unpack the two panels
        for each tile: ask for a part of the next stretch's weights, sums += panels x tile
"""

from __future__ import annotations

from typing import Any

from ..formats.unpack import unpacking_of
from ..jit import isa
from ..simd.addresses import argument, inline
from .activation_record import ACTIVATION_COLUMNS, ACTIVATION_TILES
from .amx_product import make_amx_product, whole_rows
from .avx2_tile import make_multiply_tile, weight_form
from .float_gemm import make_float_product
from .matrix_tile import make_matrix_step
from .panel import make_unpack_panel
from .panel_form import sums_of_rows
from .prefetch import next_stretch, prefetch_part
from .sizes import (
    PANEL_BUFFER_BYTES,
    ROWS,
    STRETCH,
    WORD_STRETCH,
    panel_scratch_bytes,
    record_bytes,
    takes_bfloat,
)
from .tile import make_accumulators, make_block_step, make_minimum_step, panel_bytes
from .tile_record import IN_SHORT_REGISTERS

PANEL_SCRATCH_BYTES = panel_scratch_bytes()
PART = isa.current().tile // 2
"""Of a last tile that holds no more than so many tokens, only these are multiplied."""


def multiply(format_name: str) -> Any:
    """Kernel: up to `panel_rows` rows times tiles.

    rows, bytes from a row to the next, number of rows, activation, its first tile, number of tokens,
    scratch (panel_scratch_bytes, PANEL_BUFFER_BYTES and 32 rows), sums. The result is left in the sums,
    float32 [32 rows][tile][2][token in tile][16 rows].
    """
    kind, in_bfloat = unpacking_of(format_name), takes_bfloat(format_name)
    if in_bfloat and isa.current().amx:
        return make_amx_product(kind)
    return product_kernel(make_float_product(kind, in_bfloat) if kind.FLOAT else _make_integer_product(kind))


def product_kernel(product: Any) -> Any:
    """The kernel `multiply` of a product of 32 rows, 16 and 16 of which may stand elsewhere."""

    def kernel(rows, stride, count, activation, tile, n_tokens, scratch, sums):
        spare = scratch + PANEL_SCRATCH_BYTES + PANEL_BUFFER_BYTES
        for first in range(0, count, ROWS):
            at, left = rows + first * stride, count - first
            rows_0 = whole_rows(at, stride, left, spare)
            rows_1 = whole_rows(at + 16 * stride, stride, left - 16, spare + 16 * stride)
            out = sums_of_rows(sums, first, n_tokens)
            product(at, rows_0, rows_1, stride, activation, tile, n_tokens, scratch, out)

    return kernel


def _make_integer_product(kind: Any) -> Any:
    level = isa.current()
    panels, tile = level.panels, level.tile
    in_words = IN_SHORT_REGISTERS and weight_form(kind).step == "words"
    stretch = (WORD_STRETCH if in_words else STRETCH) // 32
    one_panel = (
        weight_form(kind).block_bytes if IN_SHORT_REGISTERS else panel_bytes(kind.GROUP, kind.HAS_MINIMUM)
    )
    # Panels that are multiplied together lie block by block, others one after the other.
    block_stride, second = panels * one_panel, (1 if panels == 2 else stretch) * one_panel
    make_tile = make_multiply_tile if IN_SHORT_REGISTERS else _make_integer_tile
    full, part = (make_tile(kind, count, second) for count in (tile, PART))
    unpack_panel, size, record = make_unpack_panel(kind), kind.BYTES // 8, record_bytes(tile)

    @inline
    def product(rows, rows_0, rows_1, stride, activation, first_tile, n_tokens, scratch, sums):
        blocks = argument(activation, ACTIVATION_COLUMNS) // 32
        tiles = argument(activation, ACTIVATION_TILES) + first_tile * blocks * record
        buffer = scratch + PANEL_SCRATCH_BYTES
        n_tiles = (n_tokens + tile - 1) // tile
        for first in range(0, blocks, stretch):
            count = min(stretch, blocks - first)
            for block in range(0, count, 8):
                panel, some = scratch + block * block_stride, min(8, count - block)
                unpack_panel(rows_0, stride, first + block, some, panel, block_stride, buffer)
                unpack_panel(rows_1, stride, first + block, some, panel + second, block_stride, buffer)
            ahead = next_stretch(rows, stride, first, stretch, blocks, size)
            for t in range(n_tiles):
                prefetch_part(ahead, stride, t, n_tiles, stretch * size)
                x, saved = tiles + (t * blocks + first) * record, sums + t * tile * 128
                if n_tokens - t * tile > PART:
                    full(scratch, x, count, first == 0, saved, buffer)
                else:
                    part(scratch, x, count, first == 0, saved, buffer)

    return product


def _make_integer_tile(kind: Any, n_tokens: int, second: int) -> Any:
    """`multiply_tile(panels, record, blocks, is_first, sums, spare)`: blocks of both panels times a tile.

    n_tokens: of the tile, from its first on. second: bytes from the first panel to the second.
    """
    level = isa.current()
    panels, tile = level.panels, level.tile
    zero, load, save = make_accumulators(panels, tile, n_tokens)
    step = (make_matrix_step if level.matrix else make_block_step)(panels, tile, n_tokens, kind)
    has_minimum, add_minima = kind.HAS_MINIMUM, make_minimum_step(panels, tile, n_tokens, kind.GROUP)
    one_panel = panel_bytes(kind.GROUP, kind.HAS_MINIMUM)
    record, block_stride = record_bytes(tile), panels * one_panel
    passes = 2 // panels

    @inline
    def multiply_tile(start, x, blocks, is_first, sums, spare):
        for half in range(passes):
            saved, weights = sums + half * tile * 64, start + half * second
            accumulators = zero() if is_first else load(saved)
            for block in range(blocks):
                accumulators = step(accumulators, weights + block * block_stride, x + block * record)
            if has_minimum:
                for block in range(blocks):
                    accumulators = add_minima(
                        accumulators, weights + block * block_stride, x + block * record
                    )
            save(saved, accumulators)

    return multiply_tile
