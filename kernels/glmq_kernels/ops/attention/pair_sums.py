"""Sums of products of bytes from memory with int16 of several rows, in registers of eight int32.

Two vectors of 16 bytes are interleaved and widened, so that one instruction multiplies both bytes of each of
eight columns with two numbers of a row and adds the products:

    first   a0 a1 ... a15        widened   a0 b0 a1 b1 ... a7 b7 | a8 b8 ... a15 b15
    second  b0 b1 ... b15        a row's   x y   x y   ... x y
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...gemm.tile import pack, unpack
from ...simd.addresses import opaque
from ...simd.dot import add_products_of_pairs
from ...simd.vectors import (
    I32,
    I64,
    call_llvm,
    f32x8,
    f32x16,
    i8x16,
    i16x16,
    i32x8,
    load_value,
    shuffle_value,
    splat_value,
    store_value,
)

_HALVES = (range(8), range(8, 16))
_INTERLEAVED = [[lane for i in half for lane in (i, 16 + i)] for half in _HALVES]


def make_pair_sums(rows: int, row_stride: int) -> tuple[Any, Any]:
    """`zero()` and `add(sums, first, second, pairs)`.

    sums: of 16 columns for each of `rows` rows. first, second: addresses of 16 bytes each. pairs: of the two
    int16 of the first row, `row_stride` bytes from the next one's.
    """
    kind = types.UniTuple(i32x8, 2 * rows)

    @intrinsic
    def zero(typing: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return pack(builder, [ir.Constant(i32x8.llvm, [0] * 8)] * (2 * rows))

        return kind(), codegen

    @intrinsic
    def add(typing: Any, sums: Any, first: Any, second: Any, pairs: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            totals = unpack(builder, args[0], 2 * rows)
            a, b = (load_value(builder, address, i8x16.llvm) for address in args[1:3])
            columns = [
                builder.sext(shuffle_value(builder, a, b, lanes), i16x16.llvm) for lanes in _INTERLEAVED
            ]
            pairs = opaque(builder, args[3])
            for r in range(rows):
                pair = load_value(builder, builder.add(pairs, I64(row_stride * r)), I32)
                row = builder.bitcast(splat_value(builder, i32x8, pair), i16x16.llvm)
                for half, column in enumerate(columns):
                    at = 2 * r + half
                    totals[at] = add_products_of_pairs(builder, totals[at], column, row)
            return pack(builder, totals)

        return kind(kind, types.int64, types.int64, types.int64), codegen

    return zero, add


def make_save_by_column(rows: int, target_stride: int, *, accumulate: bool) -> Any:
    """`save(sums, scales, target)`: sums times the columns' scales (f32x16) to, or onto, rows of float32."""

    @intrinsic
    def save(typing: Any, sums: Any, scales: Any, target: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            factors = [shuffle_value(builder, args[1], args[1], half) for half in _HALVES]
            for r in range(rows):
                for half, factor in enumerate(factors):
                    total = builder.extract_value(args[0], 2 * r + half)
                    _save(builder, args[2], target_stride * r + 32 * half, total, factor, accumulate)
            return context.get_dummy_value()

        return types.none(types.UniTuple(i32x8, 2 * rows), f32x16, types.int64), codegen

    return save


def make_add_by_row(rows: int, factor_stride: int, target_stride: int) -> Any:
    """`save(sums, factors, target)`: adds sums, times a float32 of each row, to rows of float32."""

    @intrinsic
    def save(typing: Any, sums: Any, factors: Any, target: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            for r in range(rows):
                at = builder.add(args[1], I64(factor_stride * r))
                factor = splat_value(builder, f32x8, load_value(builder, at, ir.FloatType()))
                for half in range(2):
                    total = builder.extract_value(args[0], 2 * r + half)
                    _save(builder, args[2], target_stride * r + 32 * half, total, factor, True)
            return context.get_dummy_value()

        return types.none(types.UniTuple(i32x8, 2 * rows), types.int64, types.int64), codegen

    return save


def _save(builder: Any, target: Any, offset: int, total: Any, factor: Any, accumulate: bool) -> None:
    at = builder.add(target, I64(offset))
    found = builder.sitofp(total, f32x8.llvm)
    if accumulate:
        before = load_value(builder, at, f32x8.llvm)
        found = call_llvm(builder, "llvm.fma.v8f32", f32x8.llvm, [found, factor, before])
    else:
        found = builder.fmul(found, factor)
    store_value(builder, at, found)
