"""Outer products: sums of vectors times scalars, for attention."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...gemm.tile import add_outer, pack, unpack
from ...simd.vectors import I64, f32x16, load_value, store_value


def make_outer(n_vectors: int, rows: int, scalar_stride: int, row_stride: int) -> tuple[Any, Any, Any, Any]:
    """`zero()`, `add(sums, vectors, scalars)`, `load(address)` and `save(address, sums)`.

    sums: of `n_vectors` times 16 lanes for each of `rows` rows, `row_stride` bytes apart in memory. `add`
    adds each vector times the scalar (float32) of each row, `scalar_stride` bytes apart.
    """
    kind = types.UniTuple(f32x16, n_vectors * rows)
    vectors_kind = types.UniTuple(f32x16, n_vectors)
    places = [row_stride * r + 64 * v for v in range(n_vectors) for r in range(rows)]

    @intrinsic
    def zero(typing: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return pack(builder, [ir.Constant(f32x16.llvm, [0.0] * 16)] * len(places))

        return kind(), codegen

    @intrinsic
    def add(typing: Any, sums: Any, vectors: Any, scalars: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            parts = unpack(builder, args[1], n_vectors)
            return add_outer(builder, args[0], parts, args[2], rows, scalar_stride)

        return kind(kind, vectors_kind, types.int64), codegen

    @intrinsic
    def load(typing: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            values = [load_value(builder, builder.add(args[0], I64(at)), f32x16.llvm) for at in places]
            return pack(builder, values)

        return kind(types.int64), codegen

    @intrinsic
    def save(typing: Any, address: Any, sums: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            for at, value in zip(places, unpack(builder, args[1], len(places)), strict=True):
                store_value(builder, builder.add(args[0], I64(at)), value)
            return context.get_dummy_value()

        return types.none(types.int64, kind), codegen

    return zero, add, load, save
