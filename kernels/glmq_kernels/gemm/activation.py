"""Preparing activations for matrix products.

Integer products take a token as int8 with one float32 scale per 32 columns, and the scale times the
sum of each 16 and 32 of them, which formats with an offset or a minimum need. The same numbers are
laid out by token, for products of one token, and in tiles (`tile.py`), for products of many.
"""

from __future__ import annotations

from ..jit import isa
from ..simd.addresses import argument, inline, load_f32, store_f32, store_i16
from ..simd.conversions import float_to_bfloat, narrow_to_i8, round_to_int
from ..simd.vectors import (
    first_word,
    largest_magnitude,
    load_f32x16,
    load_i8x16,
    splat_f32x16,
    splat_i8x16,
    store,
    sum_lanes,
)
from .activation_record import (
    ACTIVATION_BFLOAT_TILES,
    ACTIVATION_COLUMNS,
    ACTIVATION_FLOAT_TILES,
    ACTIVATION_Q,
    ACTIVATION_ROWS,
    ACTIVATION_SCALE,
    ACTIVATION_SUM16,
    ACTIVATION_SUM32,
    ACTIVATION_TILES,
)
from .sizes import record_bytes

TILE, BIAS = isa.current().tile, isa.current().bias
RECORD = record_bytes(TILE)


@inline
def quantize_block(source, q, scale_at, sum16_at, sum32_at):
    """32 floats to int8 (nearest, largest magnitude 127), their scale, and scale times sums.

    Where one is NaN or infinite, so are scale and sums, and with them every product.
    """
    a, b = load_f32x16(source), load_f32x16(source + 64)
    largest = largest_magnitude(a, b)
    scale = largest / 127
    inverse = splat_f32x16(127 / largest if largest > 0 else largest)
    a, b = round_to_int(a * inverse), round_to_int(b * inverse)
    store(q, narrow_to_i8(a))
    store(q + 16, narrow_to_i8(b))
    sum_a, sum_b = scale * sum_lanes(a), scale * sum_lanes(b)
    store_f32(scale_at, scale)
    store_f32(sum16_at, sum_a)
    store_f32(sum16_at + 4, sum_b)
    store_f32(sum32_at, sum_a + sum_b)


@inline
def tile_block(q, scale_at, sum16_at, record, slot):
    """Copy one quantized block into place `slot` of a tile's record."""
    bias = splat_i8x16(BIAS)
    store(record + 32 * slot, load_i8x16(q) ^ bias)
    store(record + 32 * slot + 16, load_i8x16(q + 16) ^ bias)
    store_f32(record + 32 * TILE + 4 * slot, load_f32(scale_at))
    store_f32(record + 36 * TILE + 8 * slot, load_f32(sum16_at))
    store_f32(record + 36 * TILE + 8 * slot + 4, load_f32(sum16_at + 4))
    store_f32(record + 44 * TILE + 4 * slot, load_f32(sum16_at) + load_f32(sum16_at + 4))


@inline
def prepare(activation, token, tile, slot, first, last):
    """Bring columns `first` to `last` (multiples of 32, or the end) of one row into the wanted forms.

    `tile` and `slot` say where the row belongs in the tiles; a negative `tile`: nowhere.
    """
    columns = argument(activation, ACTIVATION_COLUMNS)
    rows = argument(activation, ACTIVATION_ROWS) + token * columns * 4
    q = argument(activation, ACTIVATION_Q)
    if q:
        blocks = columns // 32
        q += token * columns
        scale = argument(activation, ACTIVATION_SCALE) + token * blocks * 4
        sum16 = argument(activation, ACTIVATION_SUM16) + token * blocks * 8
        sum32 = argument(activation, ACTIVATION_SUM32) + token * blocks * 4
        record = argument(activation, ACTIVATION_TILES) + tile * blocks * RECORD
        for b in range(first // 32, last // 32):
            quantize_block(rows + 128 * b, q + 32 * b, scale + 4 * b, sum16 + 8 * b, sum32 + 4 * b)
            if tile >= 0:
                tile_block(q + 32 * b, scale + 4 * b, sum16 + 8 * b, record + b * RECORD, slot)
    if tile >= 0:
        float_tiles(rows, activation, tile, slot, first, last)


@inline
def float_tiles(row, activation, tile, slot, first, last):
    """Columns `first` to `last` of a row to its place in the float tiles that are wanted."""
    columns = argument(activation, ACTIVATION_COLUMNS)
    tiles = argument(activation, ACTIVATION_FLOAT_TILES)
    if tiles:
        out = tiles + (tile * ((columns + 15) // 16) * TILE + slot) * 64
        for i in range(first, last - 15, 16):
            store(out + i * 4 * TILE, load_f32x16(row + 4 * i))
        for i in range(max(first, last // 16 * 16), last):
            store_f32(out + i // 16 * 64 * TILE + i % 16 * 4, load_f32(row + 4 * i))
    tiles = argument(activation, ACTIVATION_BFLOAT_TILES)
    if tiles:
        out = tiles + (tile * ((columns + 31) // 32) * TILE + slot) * 64
        for i in range(first, last - 15, 16):
            store(out + i // 32 * 64 * TILE + i % 32 * 2, float_to_bfloat(load_f32x16(row + 4 * i)))
        for i in range(max(first, last // 16 * 16), last):
            bits = first_word(float_to_bfloat(splat_f32x16(load_f32(row + 4 * i))))
            store_i16(out + i // 32 * 64 * TILE + i % 32 * 2, bits)
