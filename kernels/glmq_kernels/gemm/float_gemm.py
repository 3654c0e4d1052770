"""Rows of a weight matrix times many tokens, in float32 or bfloat16.

Rows and tokens meet along the columns, 64 bytes at a time, so neither has to be turned:

    weights of a stretch   [group of rows][block of columns][row of group][64 bytes]
    tile of tokens         [block of columns][token of tile][64 bytes]

where 64 bytes are 16 float32, or 32 bfloat16 on CPUs that multiply those. Every lane of a sum has columns
of its own; the lanes are added up at the end of a stretch.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..formats.dequantize import make_dequantize_64, make_dequantize_block
from ..jit import isa
from ..simd.addresses import argument, copy_bytes, inline, store_f32, zero_bytes
from ..simd.bfloat_dot import bfloat_dot_value
from ..simd.vectors import I64, Vector, call_llvm, load_i8x64, load_value, shuffle_value, store
from .activation_record import ACTIVATION_BFLOAT_TILES, ACTIVATION_COLUMNS, ACTIVATION_FLOAT_TILES
from .prefetch import next_stretch, prefetch_part
from .sizes import FLOAT_STRETCH_BYTES, ROWS

ROW_GROUP = 2 * isa.current().panels
"""Weight rows that meet tokens at once."""
TOKENS = 4 if isa.current().amx else isa.current().tile
"""Of a tile, that meet them at once: as many as registers hold."""


def make_float_product(kind: Any, in_bfloat: bool) -> Any:
    """`product(rows, rows_0, rows_1, stride, activation, first_tile, n_tokens, scratch, sums)`.

    rows_0, rows_1: where 16 rows each can be read; sums as in `product.multiply`. in_bfloat: multiply
    bfloat16 by bfloat16. Rows of an integer format are brought near as float32.
    """
    tile = isa.current().tile
    unpack = _make_copy(kind, in_bfloat) if kind.FLOAT else _make_dequantize(kind)
    form = ACTIVATION_BFLOAT_TILES if in_bfloat else ACTIVATION_FLOAT_TILES
    lanes, row_bytes = (32 if in_bfloat else 16), FLOAT_STRETCH_BYTES
    stretch = row_bytes // 64 * lanes
    stretch_bytes = stretch * kind.WIDTH if kind.FLOAT else kind.BYTES
    full, part = (_make_tile_product(n, stretch_bytes, in_bfloat) for n in (TOKENS, TOKENS // 2))

    @inline
    def product(rows, rows_0, rows_1, stride, activation, first_tile, n_tokens, scratch, sums):
        columns = argument(activation, ACTIVATION_COLUMNS)
        tile_bytes = (columns + lanes - 1) // lanes * 64 * tile
        tiles = argument(activation, form) + first_tile * tile_bytes
        n_parts = (n_tokens + TOKENS - 1) // TOKENS
        for first in range(0, columns, stretch):
            count = min(stretch, columns - first)
            at = first // stretch
            unpack(rows_0 + at * stretch_bytes, stride, count, scratch)
            unpack(rows_1 + at * stretch_bytes, stride, count, scratch + 16 * row_bytes)
            blocks = (count + lanes - 1) // lanes
            ahead = next_stretch(rows, stride, at, 1, (columns + stretch - 1) // stretch, stretch_bytes)
            for i in range(n_parts):
                t, slot = i * TOKENS // tile, i * TOKENS % tile
                x = tiles + t * tile_bytes + (first // lanes * tile + slot) * 64
                saved = sums + (2 * t * tile + slot) * 64
                if n_tokens - i * TOKENS > TOKENS // 2:
                    full(scratch, x, blocks, first == 0, saved, ahead, stride, i, n_parts)
                else:
                    part(scratch, x, blocks, first == 0, saved, ahead, stride, i, n_parts)

    return product


def _make_copy(kind: Any, in_bfloat: bool) -> Any:
    """`copy(rows, stride, columns, weights)`: 16 rows, filled up with zeros to whole blocks."""
    load_block = load_i8x64 if in_bfloat else kind.load_16
    load_1, width, lanes = kind.load_1, kind.WIDTH, 32 if in_bfloat else 16
    group, row_bytes, block_bytes = ROW_GROUP, FLOAT_STRETCH_BYTES, ROW_GROUP * 64

    @inline
    def copy(rows, stride, columns, weights):
        whole = columns // lanes
        for row in range(16):
            out = weights + row // group * group * row_bytes + row % group * 64
            source = rows + row * stride
            for block in range(whole):
                store(out + block * block_bytes, load_block(source + block * lanes * width))
            if columns % lanes:
                last, source = out + whole * block_bytes, source + whole * lanes * width
                zero_bytes(last, 64)
                if in_bfloat:
                    copy_bytes(last, source, columns % lanes * width)
                else:
                    for i in range(columns % lanes):
                        store_f32(last + 4 * i, load_1(source + i * width))

    return copy


def _make_dequantize(kind: Any) -> Any:
    """`dequantize(rows, stride, columns, weights)`: up to 256 columns of 16 rows."""
    unpack, unpack_block, size = kind.unpack, kind.unpack_block, kind.BYTES
    values_0, values_1, values_2, values_3 = make_dequantize_64(kind)
    in_blocks, block_values = unpack_block is not None, make_dequantize_block(kind)
    group, row_bytes, block_bytes = ROW_GROUP, FLOAT_STRETCH_BYTES, ROW_GROUP * 64

    @inline
    def put_64(values, out):
        store(out, values[0])
        store(out + block_bytes, values[1])
        store(out + 2 * block_bytes, values[2])
        store(out + 3 * block_bytes, values[3])

    @inline
    def dequantize(rows, stride, columns, weights):
        for row in range(16):
            out = weights + row // group * group * row_bytes + row % group * 64
            p = rows + row * stride
            if columns == 256:
                vectors, scales, minima = unpack(p)
                put_64(values_0(vectors[0], scales, minima), out)
                put_64(values_1(vectors[1], scales, minima), out + 4 * block_bytes)
                put_64(values_2(vectors[2], scales, minima), out + 8 * block_bytes)
                put_64(values_3(vectors[3], scales, minima), out + 12 * block_bytes)
            elif in_blocks:
                for block in range(columns // 32):
                    vector, scale, minimum = unpack_block(p + block * (size // 8))
                    first, second = block_values(vector, scale, minimum)
                    store(out + 2 * block * block_bytes, first)
                    store(out + (2 * block + 1) * block_bytes, second)

    return dequantize


def _make_tile_product(n_tokens: int, ahead_bytes: int, in_bfloat: bool) -> Any:
    """`multiply_tile(weights, x, blocks, is_first, sums, ...)`: 32 rows times some tokens of a tile."""
    tile = isa.current().tile
    lanes = isa.current().dot_lanes
    zero, step, add_up = _make_step(n_tokens, Vector("f32", lanes), in_bfloat)
    group, groups, row_bytes = ROW_GROUP, ROWS // ROW_GROUP, FLOAT_STRETCH_BYTES

    @inline
    def multiply_tile(weights, x, blocks, is_first, sums, ahead, stride, part, n_parts):
        for row in range(0, ROWS, group):
            prefetch_part(ahead, stride, part * groups + row // group, n_parts * groups, ahead_bytes)
            accumulators = zero()
            for block in range(blocks):
                at = weights + row * row_bytes + block * 64 * group
                accumulators = step(accumulators, at, x + block * 64 * tile)
            add_up(accumulators, sums + row // 16 * tile * 64 + row % 16 * 4, is_first)

    return multiply_tile


def _make_step(n_tokens: int, vector: Vector, in_bfloat: bool) -> tuple[Any, Any, Any]:
    """`zero()`, `step(sums, weights, x)` and `add_up(sums, out, is_first)` of a group of rows.

    sums: a vector for each row and token, rows of a token side by side.
    """
    kind = types.UniTuple(vector, ROW_GROUP * n_tokens)
    part_bytes = vector.lanes * 4

    def vectors_of(builder: Any, sums: Any) -> list[Any]:
        return [builder.extract_value(sums, i) for i in range(kind.count)]

    def tuple_of(builder: Any, vectors: list[Any]) -> Any:
        packed = ir.Constant(ir.ArrayType(vector.llvm, kind.count), ir.Undefined)
        for i, value in enumerate(vectors):
            packed = builder.insert_value(packed, value, i)
        return packed

    @intrinsic
    def zero(typing: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return tuple_of(builder, [ir.Constant(vector.llvm, [0.0] * vector.lanes)] * kind.count)

        return kind(), codegen

    @intrinsic
    def step(typing: Any, sums: Any, weights: Any, x: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def load(address: Any, offset: int) -> Any:
                return load_value(builder, builder.add(address, I64(offset)), vector.llvm)

            found = vectors_of(builder, args[0])
            for part in range(0, 64, part_bytes):
                rows = [load(args[1], 64 * r + part) for r in range(ROW_GROUP)]
                for t in range(n_tokens):
                    token = load(args[2], 64 * t + part)
                    for r, row in enumerate(rows):
                        i = t * ROW_GROUP + r
                        found[i] = _multiply_add(builder, row, token, found[i], in_bfloat)
            return tuple_of(builder, found)

        return kind(kind, types.int64, types.int64), codegen

    @intrinsic
    def add_up(typing: Any, sums: Any, out: Any, is_first: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            sums, out, is_first = args
            found = vectors_of(builder, sums)
            for t in range(n_tokens):
                total = _sums_of_lanes(builder, found[t * ROW_GROUP : (t + 1) * ROW_GROUP])
                at = builder.inttoptr(builder.add(out, I64(64 * t)), total.type.as_pointer())
                before = builder.load(at)
                before.align = 4
                nothing = ir.Constant(total.type, [0.0] * ROW_GROUP)
                total = builder.fadd(total, builder.select(is_first, nothing, before))
                builder.store(total, at).align = 4
            return context.get_dummy_value()

        return types.none(kind, types.int64, types.boolean), codegen

    return zero, step, add_up


def _multiply_add(builder: Any, a: Any, b: Any, c: Any, in_bfloat: bool) -> Any:
    """A * b + c, or in bfloat16 the sums of two neighbouring products added to each lane of c."""
    if in_bfloat:
        return bfloat_dot_value(builder, c, a, b)
    name = "fma" if isa.current().half else "fmuladd"
    return call_llvm(builder, f"llvm.{name}.v{c.type.count}f32", c.type, [a, b, c])


def _sums_of_lanes(builder: Any, vectors: list[Any]) -> Any:
    """The sums of the lanes of two or four vectors, side by side."""

    def added(a: Any, b: Any, first: list[int], second: list[int]) -> Any:
        return builder.fadd(shuffle_value(builder, a, b, first), shuffle_value(builder, a, b, second))

    lanes = vectors[0].type.count
    quarters = range(0, lanes, 4)
    # After each step a quarter holds sums of its own lanes: a b a b, then a b c d.
    vectors = [
        added(
            a,
            b,
            [q + i for q in quarters for i in (0, lanes, 1, lanes + 1)],
            [q + i for q in quarters for i in (2, lanes + 2, 3, lanes + 3)],
        )
        for a, b in zip(vectors[::2], vectors[1::2], strict=True)
    ]
    if len(vectors) == 2:
        vectors = [
            added(
                *vectors,
                [q + i for q in quarters for i in (0, 1, lanes, lanes + 1)],
                [q + i for q in quarters for i in (2, 3, lanes + 2, lanes + 3)],
            )
        ]
    total = vectors[0]
    while total.type.count > ROW_GROUP:
        half = total.type.count // 2
        total = added(total, total, list(range(half)), list(range(half, 2 * half)))
    return total
