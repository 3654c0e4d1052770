"""Preparing activations for matrix products.

Integer products take a token as int8 with one float32 scale per 32 columns, and the scale times the
sum of each 16 and 32 of them, which formats with an offset or a minimum need. The same numbers are
laid out by token, for the row form (`row_record.py`), and in tiles (`tile.py`), for panels.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..jit import isa
from ..simd.addresses import argument, inline, load_f32, store_f32, store_i16
from ..simd.conversions import float_to_bfloat, narrow_to_i8, round_to_int
from ..simd.vectors import (
    I16,
    first_word,
    largest_magnitude,
    load_f32x16,
    shuffle_value,
    splat_f32x16,
    splat_i8x16,
    store,
    sum_lanes,
)
from .activation_record import (
    ACTIVATION_BFLOAT_TILES,
    ACTIVATION_COLUMNS,
    ACTIVATION_FLOAT_TILES,
    ACTIVATION_ROW_RECORDS,
    ACTIVATION_ROWS,
    ACTIVATION_TILES,
)
from .row_record import UNIT, put_block, take_block
from .sizes import ROW_RECORD_BYTES
from .tile_record import HALF_SUMS, IN_SHORT_REGISTERS, RECORD_BYTES, SCALES, SUMS, TILE

BIAS = isa.current().bias


@intrinsic
def store_pair_sums(typing: Any, address: Any, a: Any, b: Any) -> Any:
    """Minus the sums of twice 16 bytes: of `a`, and of both, as `tile_record.py` draws them."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words, eight = ir.VectorType(I16, 8), ir.Constant(ir.VectorType(I16, 8), [8] * 8)

        def pairs(v: Any) -> Any:
            v = builder.bitcast(v, words)
            return builder.add(builder.ashr(builder.shl(v, eight), eight), builder.ashr(v, eight))

        def added(v: Any, w: Any, first: list[int], second: list[int]) -> Any:
            return builder.add(shuffle_value(builder, v, w, first), shuffle_value(builder, v, w, second))

        first = pairs(args[1])
        both = builder.add(first, pairs(args[2]))
        of_four = added(first, both, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15])
        found = added(of_four, of_four, [0, 1, 4, 5], [2, 3, 6, 7])
        negative = builder.sub(ir.Constant(found.type, [0] * 4), found)
        builder.store(negative, builder.inttoptr(args[0], found.type.as_pointer())).align = 4
        return context.get_dummy_value()

    return types.none(types.int64, a, b), codegen


@inline
def quantize_block(source):
    """32 floats as int8 (nearest, largest magnitude 127), twice 16, their scale, and sums of the integers.

    Where one is NaN or infinite, so is the scale, and with it every product.
    """
    a, b = load_f32x16(source), load_f32x16(source + 64)
    largest = largest_magnitude(a, b)
    scale = largest / 127
    inverse = splat_f32x16(127 / largest if largest > 0 else largest)
    a, b = round_to_int(a * inverse), round_to_int(b * inverse)
    return narrow_to_i8(a), narrow_to_i8(b), scale, sum_lanes(a), sum_lanes(b)


@inline
def _place_in_record(columns, block):
    """In which of a row's records a block of 32 columns is, and its place there.

    The last record begins 256 columns before the row's end. Blocks that it has in common with the one before
    are in that one; the last has scales of 0 for them.
    """
    blocks = columns // 32
    last = (blocks - 1) // 8
    if blocks % 8 and last and block >= 8 * last:
        return last, block - (blocks - 8)
    return block // 8, block % 8


@inline
def _record_of(activation, token, unit):
    units = (argument(activation, ACTIVATION_COLUMNS) + UNIT - 1) // UNIT
    return argument(activation, ACTIVATION_ROW_RECORDS) + (token * units + unit) * ROW_RECORD_BYTES


@inline
def _put_in_tile(record, slot, a, b, scale, sum_a, sum_b):
    """Write a quantized block to place `slot` of a tile's record."""
    bias, halves = splat_i8x16(BIAS), record + HALF_SUMS + 8 * slot
    store(record + 32 * slot, a ^ bias)
    store(record + 32 * slot + 16, b ^ bias)
    store_f32(record + SCALES + 4 * slot, scale)
    store_f32(record + SUMS + 4 * slot, sum_a + sum_b)
    if IN_SHORT_REGISTERS:
        store_pair_sums(halves, a, b)
    else:
        store_f32(halves, sum_a)
        store_f32(halves + 4, sum_b)


@inline
def prepare(activation, token, tile, slot, first, last):
    """Bring columns `first` to `last` (multiples of 32, or the end) of one row into the wanted forms.

    `tile` and `slot` say where the row belongs in the tiles; a negative `tile`: nowhere.
    """
    columns = argument(activation, ACTIVATION_COLUMNS)
    rows = argument(activation, ACTIVATION_ROWS) + token * columns * 4
    if argument(activation, ACTIVATION_ROW_RECORDS):
        tile_record = argument(activation, ACTIVATION_TILES) + tile * (columns // 32) * RECORD_BYTES
        for block in range(first // 32, last // 32):
            a, b, scale, sum_a, sum_b = quantize_block(rows + 128 * block)
            unit, place = _place_in_record(columns, block)
            put_block(_record_of(activation, token, unit), place, a, b, scale, sum_a, sum_b)
            if tile >= 0 and argument(activation, ACTIVATION_TILES):
                at = tile_record + block * RECORD_BYTES
                _put_in_tile(at, slot, a, b, scale, scale * sum_a, scale * sum_b)
    if tile >= 0:
        float_tiles(rows, activation, tile, slot, first, last)


@inline
def gather(source, target, token, tile, slot):
    """Copy a prepared row of one activation to its place in the tiles of another."""
    columns = argument(source, ACTIVATION_COLUMNS)
    if argument(target, ACTIVATION_TILES):
        tile_record = argument(target, ACTIVATION_TILES) + tile * (columns // 32) * RECORD_BYTES
        for block in range(columns // 32):
            unit, place = _place_in_record(columns, block)
            a, b, scale, sum_a, sum_b = take_block(_record_of(source, token, unit), place)
            _put_in_tile(tile_record + block * RECORD_BYTES, slot, a, b, scale, sum_a, sum_b)
    row = argument(source, ACTIVATION_ROWS) + token * columns * 4
    float_tiles(row, target, tile, slot, 0, columns)


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
