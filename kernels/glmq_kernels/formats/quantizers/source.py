"""Weights as a source holds them, to float32, and the largest magnitude among them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...simd.addresses import inline
from ...simd.conversions import bfloat_to_float, half_to_float
from ...simd.vectors import I32, call_llvm, i32x16, load_f32x16, load_i16x16, make_bitcast, make_constant
from .arguments import SOURCE_KINDS

SOURCE_F16, SOURCE_BF16 = SOURCE_KINDS["F16"], SOURCE_KINDS["BF16"]
bits_of = make_bitcast(i32x16)
magnitude_mask = make_constant(i32x16, [0x7FFFFFFF] * 16)


@inline
def load_16(source, kind, i):
    """16 weights from number `i` on, as float32."""
    if kind == SOURCE_BF16:
        values = bfloat_to_float(load_i16x16(source + 2 * i))
    elif kind == SOURCE_F16:
        values = half_to_float(load_i16x16(source + 2 * i))
    else:
        values = load_f32x16(source + 4 * i)
    return values


@inline
def magnitude_bits(v):
    """The bits of 16 magnitudes: as int32 they are in the order of the numbers, NaN above all."""
    return bits_of(v) & magnitude_mask()


@intrinsic
def larger(typing: Any, a: Any, b: Any) -> Any:
    """The larger of each pair of int32 lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(builder.icmp_signed(">", *args), *args)

    return a(a, b), codegen


@intrinsic
def largest_lane(typing: Any, v: Any) -> Any:
    """The largest int32 lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.vector.reduce.smax.v{v.lanes}i32", I32, args)

    return types.int32(v), codegen


@intrinsic
def float_of_bits(typing: Any, bits: Any) -> Any:
    """The float32 with the bits of an int32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen
