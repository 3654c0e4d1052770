"""Products of panels of int16 pairs with rows of such pairs, for attention.

A panel's vector holds, for 16 columns, the numbers of two neighbouring depths:

    panel   [columns / 16][depth / 2][16][2]    int16
    row     [depth]                             int16

so that one instruction multiplies two numbers of each column with two of a row and adds both to int32.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...gemm.tile import pack, unpack
from ...simd.addresses import opaque
from ...simd.dot import add_products_of_pairs
from ...simd.vectors import I32, I64, f32x16, i16x32, i32x16, load_value, splat_value, store_value
from .sizes import STATE_BYTES


def make_pair_products(
    n_vectors: int, rows: int, depth: int, row_stride: int, target_stride: int, *, accumulate: bool
) -> tuple[Any, Any, Any]:
    """`zero()`, `add(sums, panel, pairs)` and `save(sums, scales, row_states, target)`.

    sums: int32 of `n_vectors` times 16 columns for each of `rows` rows. `add` takes the vectors of a pair of
    depths in a panel of `depth`, and the pair of each row, `row_stride` bytes apart. `save` stores the sums
    as float32, times the columns' and the rows' scales, in rows `target_stride` bytes apart, or adds them to
    what is there. scales: float32, of the columns. row_states: address of the first row's scale,
    `STATE_BYTES` from the next one's.
    """
    kind = types.UniTuple(i32x16, n_vectors * rows)
    vectors = range(n_vectors)

    @intrinsic
    def zero(typing: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return pack(builder, [ir.Constant(i32x16.llvm, [0] * 16)] * (n_vectors * rows))

        return kind(), codegen

    @intrinsic
    def add(typing: Any, sums: Any, panel: Any, pairs: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            totals, panel = unpack(builder, args[0], n_vectors * rows), opaque(builder, args[1])
            columns = [
                load_value(builder, builder.add(panel, I64(32 * depth * v)), i16x32.llvm) for v in vectors
            ]
            for r in range(rows):
                pair = load_value(builder, builder.add(args[2], I64(row_stride * r)), I32)
                row = builder.bitcast(splat_value(builder, i32x16, pair), i16x32.llvm)
                for v in vectors:
                    at = v * rows + r
                    totals[at] = add_products_of_pairs(builder, totals[at], columns[v], row)
            return pack(builder, totals)

        return kind(kind, types.int64, types.int64), codegen

    @intrinsic
    def save(typing: Any, sums: Any, scales: Any, row_states: Any, target: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            totals = unpack(builder, args[0], n_vectors * rows)
            columns = [load_value(builder, builder.add(args[1], I64(64 * v)), f32x16.llvm) for v in vectors]
            for r in range(rows):
                scale = load_value(builder, builder.add(args[2], I64(STATE_BYTES * r)), ir.FloatType())
                row = splat_value(builder, f32x16, scale)
                for v in vectors:
                    found = builder.sitofp(totals[v * rows + r], f32x16.llvm)
                    at = builder.add(args[3], I64(target_stride * r + 64 * v))
                    factor = builder.fmul(columns[v], row)
                    found = builder.fmul(found, factor)
                    if accumulate:
                        found = builder.fadd(found, load_value(builder, at, f32x16.llvm))
                    store_value(builder, at, found)
            return context.get_dummy_value()

        return types.none(kind, types.int64, types.int64, types.int64), codegen

    return zero, add, save
