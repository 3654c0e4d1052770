"""Panels times tiles where the CPU multiplies matrices of bytes: Arm's `smmla`.

The instruction multiplies two tokens with two rows, eight columns at a time, and adds four sums:

    token 0   x x x x x x x x        row 0   w w w w w w w w        sums   t0 r0 | t0 r1
    token 1   x x x x x x x x        row 1   w w w w w w w w               t1 r0 | t1 r1

So a panel's 512 bytes of weights (`tile.py`) lie otherwise: eight columns of each row side by side, 16 rows,
then the next eight columns. Tiles, scales and sums are as elsewhere; starts are not read: there is no bias.

Source: Arm Architecture Reference Manual, SMMLA (vector).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..simd.vectors import (
    I64,
    Vector,
    call_llvm,
    constant,
    f32x4,
    f32x16,
    i8x16,
    load_value,
    shuffle_value,
    store_value,
)
from .panel_turning import make_turn
from .tile import group_bytes, pack, unpack

i64x2, i32x4 = Vector("i64", 2), Vector("i32", 4)
COLUMNS = 8
"""That meet at once."""
QUARTERS = range(4)
"""Of the 16 rows: four lanes of float32."""


def make_turn_rows(kind: Any) -> Any:
    """`turn(buffer, panel, block_stride)`: 64 columns of the buffer (`panel.py`) to two blocks' panels."""
    center = kind.CENTER - 256 if kind.CENTER > 127 else kind.CENTER

    def emit(builder: Any, buffer: Any, panel: Any, block_stride: Any) -> None:
        def eight_and_eight(row: int, column: int) -> Any:
            at = builder.add(buffer, I64(256 * row + column))
            weights = builder.sub(load_value(builder, at, i8x16.llvm), constant(i8x16, [center] * 16))
            return builder.bitcast(weights, i64x2.llvm)

        for column in range(0, 64, 2 * COLUMNS):
            block = builder.add(panel, builder.mul(block_stride, I64(column // 32)))
            eighth = column % 32 // COLUMNS
            for row in range(0, 16, 2):
                pair = eight_and_eight(row, column), eight_and_eight(row + 1, column)
                for i in range(2):
                    out = builder.add(block, I64(128 * (eighth + i) + 8 * row))
                    store_value(builder, out, shuffle_value(builder, *pair, [i, 2 + i]))

    return make_turn(emit)


def make_matrix_step(panels: int, tile: int, n_tokens: int, form: Any) -> Any:
    """`step(accumulators, panel, record)` as of `tile.make_block_step`, of one panel and tokens in pairs."""
    assert panels == 1
    kind = types.UniTuple(f32x16, n_tokens)
    group, fields_size = form.GROUP, group_bytes(form.HAS_MINIMUM)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def load(address: Any, offset: int, what: Vector) -> Any:
            return load_value(builder, builder.add(address, I64(offset)), what.llvm)

        def pairs_of_tokens(t: int, columns: range) -> list[Any]:
            """Tokens t and t + 1, eight columns of each side by side."""
            found = []
            for column in range(columns.start, columns.stop, 2 * COLUMNS):
                both = [load(args[2], 32 * i + column, i64x2) for i in (t, t + 1)]
                found += [shuffle_value(builder, *both, [i, 2 + i]) for i in range(2)]
            return [builder.bitcast(v, i8x16.llvm) for v in found]

        totals = [
            [shuffle_value(builder, v, v, range(4 * q, 4 * q + 4)) for q in QUARTERS]
            for v in unpack(builder, args[0], n_tokens)
        ]
        for g in range(32 // group):
            columns = range(g * group, (g + 1) * group)
            tokens = {t: pairs_of_tokens(t, columns) for t in range(0, n_tokens, 2)}
            x_scales = load(args[2], 32 * tile, f32x4)
            for q in QUARTERS:
                found = _sums_of_four_rows(builder, tokens, lambda at: load(args[1], at, i8x16), columns, q)
                scales = load(args[1], 512 + g * fields_size + 16 * q, f32x4)
                for t, sums in found.items():
                    factor = builder.fmul(scales, shuffle_value(builder, x_scales, x_scales, [t] * 4))
                    products = builder.sitofp(sums, f32x4.llvm)
                    name, so_far = "llvm.fma.v4f32", totals[t][q]
                    totals[t][q] = call_llvm(builder, name, f32x4.llvm, [products, factor, so_far])
        halves = [[shuffle_value(builder, *v[h : h + 2], range(8)) for h in (0, 2)] for v in totals]
        return pack(builder, [shuffle_value(builder, *v, range(16)) for v in halves])

    @intrinsic
    def step(typing: Any, accumulators: Any, panel: Any, record: Any) -> Any:
        return kind(kind, types.int64, types.int64), codegen

    return step


def _sums_of_four_rows(
    builder: Any, tokens: dict[int, list[Any]], load_weights: Any, columns: range, quarter: int
) -> dict[int, Any]:
    """Int32 sums over a group's columns of four rows with each token, one row a lane."""
    places = [(t, row) for t in tokens for row in range(2)]
    sums = dict.fromkeys(places, ir.Constant(i32x4.llvm, [0] * 4))
    for i, column in enumerate(range(columns.start, columns.stop, COLUMNS)):
        weights = [load_weights(16 * column + 32 * quarter + 16 * row) for row in range(2)]
        for t, row in places:
            arguments = [sums[t, row], tokens[t][i], weights[row]]
            sums[t, row] = call_llvm(builder, "llvm.aarch64.neon.smmla.v4i32.v16i8", i32x4.llvm, arguments)
    found = {}
    for t in tokens:
        pair = sums[t, 0], sums[t, 1]
        found[t] = shuffle_value(builder, *pair, [0, 1, 4, 5])
        found[t + 1] = shuffle_value(builder, *pair, [2, 3, 6, 7])
    return found
