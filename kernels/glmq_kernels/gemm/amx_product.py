"""Rows of a weight matrix times many tokens by AMX, whatever the weights' type: both become bfloat16.

The processor multiplies 16 tokens with 16 rows, 32 columns at a time, which takes 16 cycles, and adds up in
float32. Sums of two tiles of tokens with 32 rows stay in its registers for a stretch of columns. Up to
`panel_rows` rows are brought near together: what tokens need to come from a distant cache is then less.

    for each stretch of columns
        unpack the rows, 32 by 32, into panels (`amx_panel.py`)
        for each two tiles: ask for a part of the next stretch's weights
            for each 32 rows: sums += tiles x panels

Tiles are those of `float_gemm.py`, of 16 tokens.
"""

from __future__ import annotations

from typing import Any

from ..simd.addresses import argument, copy_bytes, inline, zero_bytes
from ..simd.tile_registers import TILE_BYTES, configure_tiles, make_tile_step, make_tile_sums, release_tiles
from .activation_record import ACTIVATION_BFLOAT_TILES, ACTIVATION_COLUMNS
from .amx_panel import BLOCK_BYTES, make_fill_panel
from .prefetch import next_stretch, prefetch_part
from .sizes import (
    AMX_FIELDS_BYTES,
    AMX_PANEL_BYTES,
    AMX_STRETCH,
    PANEL_BUFFER_BYTES,
    ROWS,
    panel_scratch_bytes,
)

TOKENS = 16
"""Of a tile."""
SUMS_BYTES = 2 * TILE_BYTES
"""Of a tile with 32 rows."""
STRETCH_BLOCKS = AMX_STRETCH // 32
PANEL_SCRATCH_BYTES = panel_scratch_bytes()


def make_amx_product(kind: Any) -> Any:
    """The kernel `gemm.multiply` of a tensor type, of up to `panel_rows` rows.

    Sums are float32 [32 rows][tile][2][token in tile][16 rows].
    """
    fill_panel = make_fill_panel(kind)
    block_bytes = 32 * kind.WIDTH if kind.FLOAT else kind.BYTES // 8
    one_tile, two_tiles = _make_multiply(1), _make_multiply(2)

    @inline
    def fill_panels(rows, stride, last, last_rows_0, last_rows_1, first, blocks, columns, scratch):
        """Rows up to those of the last 32, which may be elsewhere."""
        fields = scratch + PANEL_SCRATCH_BYTES - AMX_FIELDS_BYTES
        buffer = scratch + PANEL_SCRATCH_BYTES
        for group in range(last + 1):
            panel, at = scratch + group * AMX_PANEL_BYTES, rows + ROWS * group * stride
            rows_0, rows_1 = at, at + 16 * stride
            if group == last:
                rows_0, rows_1 = last_rows_0, last_rows_1
            for half in range(2):
                source = rows_1 if half else rows_0
                fill_panel(source, stride, first, blocks, columns, panel + half * TILE_BYTES, buffer, fields)

    def kernel(rows, stride, count, activation, tile, n_tokens, scratch, sums):
        spare = scratch + PANEL_SCRATCH_BYTES + PANEL_BUFFER_BYTES
        columns = argument(activation, ACTIVATION_COLUMNS)
        blocks, n_tiles, last = (columns + 31) // 32, (n_tokens + TOKENS - 1) // TOKENS, (count - 1) // ROWS
        tile_bytes = blocks * TILE_BYTES
        tiles = argument(activation, ACTIVATION_BFLOAT_TILES) + tile * tile_bytes
        at, left = rows + ROWS * last * stride, count - ROWS * last
        rows_0, rows_1 = (
            whole_rows(at, stride, left, spare),
            whole_rows(at + 16 * stride, stride, left - 16, spare + 16 * stride),
        )
        configure_tiles(scratch)
        for first in range(0, blocks, STRETCH_BLOCKS):
            n_blocks = min(STRETCH_BLOCKS, blocks - first)
            fill_panels(rows, stride, last, rows_0, rows_1, first, n_blocks, columns, scratch)
            for t in range(0, n_tiles, 2):
                x = tiles + t * tile_bytes + first * TILE_BYTES
                for group in range(last + 1):
                    near = rows + ROWS * group * stride
                    ahead = next_stretch(near, stride, first, STRETCH_BLOCKS, blocks, block_bytes)
                    prefetch_part(ahead, stride, t // 2, (n_tiles + 1) // 2, STRETCH_BLOCKS * block_bytes)
                    panels, saved = (
                        scratch + group * AMX_PANEL_BYTES,
                        sums + (group * n_tiles + t) * SUMS_BYTES,
                    )
                    if t + 1 < n_tiles:
                        two_tiles(x, x + tile_bytes, panels, n_blocks, first == 0, saved)
                    else:
                        one_tile(x, x, panels, n_blocks, first == 0, saved)
        release_tiles()

    return kernel


@inline
def whole_rows(rows, stride, count, spare):
    """Address of 16 readable rows, the first `count` those at `rows`; a copy where they end early."""
    if count >= 16:
        return rows
    zero_bytes(spare, 16 * stride)
    if count > 0:
        copy_bytes(spare, rows, count * stride)
    return spare


def _make_multiply(n_tiles: int) -> Any:
    """`multiply(x_0, x_1, panels, blocks, is_first, sums)`: one tile or two times the panels of 32 rows."""
    zero, load, save = make_tile_sums(n_tiles)
    step = make_tile_step(n_tiles)

    @inline
    def multiply(x_0, x_1, panels, blocks, is_first, sums):
        if is_first:
            zero()
        else:
            load(sums)
        for block in range(blocks):
            at = block * TILE_BYTES
            step(x_0 + at, x_1 + at, panels + block * BLOCK_BYTES)
        save(sums)

    return multiply
