"""Building panels (`tile.py` draws them): 16 weight rows brought side by side, one row per lane."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .conversions import half_to_float
from .dot import make_dot
from .memory import inline, store_f32
from .simd import (
    I8,
    I16,
    I32,
    I64,
    i8x64,
    i16x16,
    i32x16,
    load_value,
    shuffle_value,
    splat_i8x64,
    store,
    zero_i32x16,
)

dot = make_dot(wide=False)


@intrinsic
def load_16_rows(typing: Any, address: Any, stride: Any) -> Any:
    """Four vectors from 16 rows of 16 bytes: vector g holds bytes 4g..4g+3 of each row, row after row."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        four = ir.VectorType(I32, 4)

        def row(r: int) -> Any:
            return load_value(builder, builder.add(args[0], builder.mul(args[1], I64(r))), four)

        def join(a: Any, b: Any) -> Any:
            return shuffle_value(builder, a, b, range(2 * a.type.count))

        quads = [
            join(join(row(4 * q), row(4 * q + 1)), join(row(4 * q + 2), row(4 * q + 3))) for q in range(4)
        ]

        def two_columns(a: Any, b: Any, column: int) -> Any:
            lanes = [base + 4 * r + column + c for c in range(2) for base in (0, 16) for r in range(4)]
            return shuffle_value(builder, a, b, lanes)

        out = []
        for column in (0, 2):
            upper, lower = two_columns(quads[0], quads[1], column), two_columns(quads[2], quads[3], column)
            out.append(shuffle_value(builder, upper, lower, [*range(8), *range(16, 24)]))
            out.append(shuffle_value(builder, upper, lower, [*range(8, 16), *range(24, 32)]))
        packed = ir.Constant(ir.ArrayType(i8x64.llvm, 4), ir.Undefined)
        for g, vector in enumerate(out):
            packed = builder.insert_value(packed, builder.bitcast(vector, i8x64.llvm), g)
        return packed

    return types.UniTuple(i8x64, 4)(types.int64, types.int64), codegen


def _make_load_16(element: Any, kind: Any) -> Any:
    @intrinsic
    def load_16(typing: Any, address: Any, stride: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vector = ir.Constant(ir.VectorType(element, 16), ir.Undefined)
            for r in range(16):
                value = load_value(builder, builder.add(args[0], builder.mul(args[1], I64(r))), element)
                vector = builder.insert_element(vector, value, I32(r))
            return vector if element is I16 else builder.sext(vector, kind.llvm)

        return kind(types.int64, types.int64), codegen

    return load_16


load_16_words = _make_load_16(I16, i16x16)
"""`load_16_words(address, stride)`: the 16-bit value at an address in each of 16 rows."""
load_16_signed_bytes = _make_load_16(I8, i32x16)
"""`load_16_signed_bytes(address, stride)`: the int8 at an address in each of 16 rows, as int32."""


@inline
def load_16_halves(address, stride):
    """The float16 values at an address in each of 16 rows, as float32."""
    return half_to_float(load_16_words(address, stride))


@inline
def store_columns(panel, a, b, c, d):
    """Store four vectors of a panel's weights; gives their products with -128, a lane per row."""
    store(panel, a)
    store(panel + 64, b)
    store(panel + 128, c)
    store(panel + 192, d)
    bias = splat_i8x64(128)
    return zero_i32x16() - dot(dot(dot(dot(zero_i32x16(), bias, a), bias, b), bias, c), bias, d)


def unpack_float_panel(load_16: Any, load_1: Any, width: int) -> Any:
    """`unpack(rows, stride, columns, panel, column_stride)`: 16 rows of floats to float32 columns.

    `load_16` and `load_1` read 16 or one value, each `width` bytes.
    """

    @inline
    def load_4_rows(at, stride):
        return load_16(at), load_16(at + stride), load_16(at + 2 * stride), load_16(at + 3 * stride)

    @inline
    def unpack(rows, stride, columns, panel, column_stride):
        whole = columns // 16 * 16
        for i in range(0, whole, 16):
            at = rows + i * width
            a, b = load_4_rows(at, stride), load_4_rows(at + 4 * stride, stride)
            c, d = load_4_rows(at + 8 * stride, stride), load_4_rows(at + 12 * stride, stride)
            store_transposed(a + b + c + d, panel + i * column_stride, column_stride)
        for i in range(whole, columns):
            for row in range(16):
                store_f32(panel + i * column_stride + 4 * row, load_1(rows + row * stride + i * width))

    return unpack


@intrinsic
def store_transposed(typing: Any, rows: Any, address: Any, stride: Any) -> Any:
    """Store a tuple of 16 float32 row vectors as 16 column vectors, `stride` bytes apart."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vectors = [builder.extract_value(args[0], i) for i in range(16)]
        # Four rounds; each interleaves vectors i and i + 8, so that lane and vector numbers turn round.
        low = [lane // 2 + 16 * (lane % 2) for lane in range(16)]
        high = [8 + lane for lane in low]
        for _ in range(4):
            vectors = [
                shuffle_value(builder, vectors[i // 2], vectors[i // 2 + 8], high if i % 2 else low)
                for i in range(16)
            ]
        for i, vector in enumerate(vectors):
            at = builder.add(args[1], builder.mul(args[2], I64(i)))
            builder.store(vector, builder.inttoptr(at, vector.type.as_pointer())).align = 1
        return context.get_dummy_value()

    return types.none(rows, types.int64, types.int64), codegen
