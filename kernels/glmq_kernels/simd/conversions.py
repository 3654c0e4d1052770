"""Conversions between the lanes' types: integers, float32, float16 and bfloat16 (the last two as bits)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from ..jit import isa
from .vectors import I32, Vector, constant

ROUNDING = 12582912.0
"""1.5 * 2**23: what is added to it loses its fraction, and the sum's low bits are an integer."""


@intrinsic
def to_float(typing: Any, v: Any) -> Any:
    """Int32 lanes to float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sitofp(args[0], sig.return_type.llvm)

    return Vector("f32", v.lanes)(v), codegen


@intrinsic
def round_to_int(typing: Any, v: Any) -> Any:
    """Float32 lanes to the nearest int32, ties to even. Lanes must be below 2**22 in magnitude."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        magic = constant(v, [ROUNDING] * v.lanes)
        bits = builder.bitcast(builder.fadd(args[0], magic), sig.return_type.llvm)
        return builder.sub(bits, builder.bitcast(magic, sig.return_type.llvm))

    return Vector("i32", v.lanes)(v), codegen


def _make_narrow(element: str) -> Any:
    @intrinsic
    def narrow(typing: Any, v: Any) -> Any:
        """Int32 lanes to shorter integers, keeping the low bits."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return builder.trunc(args[0], sig.return_type.llvm)

        return Vector(element, v.lanes)(v), codegen

    return narrow


narrow_to_i8, narrow_to_i16 = _make_narrow("i8"), _make_narrow("i16")


@intrinsic
def pair_words(typing: Any, low: Any, high: Any) -> Any:
    """Int32 lanes whose halves are the low halves of those of `low` and `high`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.return_type.llvm
        mask, sixteen = (ir.Constant(kind, [n] * low.lanes) for n in (0xFFFF, 16))
        return builder.or_(builder.and_(args[0], mask), builder.shl(args[1], sixteen))

    return low(low, high), codegen


@intrinsic
def widen_to_i32(typing: Any, v: Any) -> Any:
    """Signed int8 or int16 lanes to int32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sext(args[0], sig.return_type.llvm)

    return Vector("i32", v.lanes)(v), codegen


@intrinsic
def zero_extend(typing: Any, v: Any) -> Any:
    """Unsigned int8 or int16 lanes to int32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.zext(args[0], sig.return_type.llvm)

    return Vector("i32", v.lanes)(v), codegen


@intrinsic
def bytes_to_words(typing: Any, v: Any) -> Any:
    """Unsigned int8 lanes to int16."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.zext(args[0], sig.return_type.llvm)

    return Vector("i16", v.lanes)(v), codegen


@intrinsic
def bytes_to_signed_words(typing: Any, v: Any) -> Any:
    """Signed int8 lanes to int16."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.sext(args[0], sig.return_type.llvm)

    return Vector("i16", v.lanes)(v), codegen


@intrinsic
def half_to_float(typing: Any, v: Any) -> Any:
    """Float16 bits in int16 lanes to float32, exact."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.return_type
        if isa.current().half:
            return builder.fpext(builder.bitcast(args[0], Vector("f16", v.lanes).llvm), kind.llvm)
        wide = builder.zext(args[0], ir.VectorType(I32, v.lanes))
        magnitude = builder.and_(wide, ir.Constant(wide.type, [0x7FFF] * v.lanes))
        sign = builder.shl(builder.xor(wide, magnitude), ir.Constant(wide.type, [16] * v.lanes))
        small = builder.bitcast(builder.shl(magnitude, ir.Constant(wide.type, [13] * v.lanes)), kind.llvm)
        scaled = builder.fmul(small, constant(kind, [2.0**112] * v.lanes))  # moves the exponent's bias
        is_finite = builder.icmp_signed("<", magnitude, ir.Constant(wide.type, [0x7C00] * v.lanes))
        nothing, highest = (ir.Constant(wide.type, [bits] * v.lanes) for bits in (0, 0x7F800000))
        exponent = builder.select(is_finite, nothing, highest)
        bits = builder.or_(builder.or_(builder.bitcast(scaled, wide.type), exponent), sign)
        return builder.bitcast(bits, kind.llvm)

    return Vector("f32", v.lanes)(v), codegen


@intrinsic
def float_to_half(typing: Any, v: Any) -> Any:
    """Float32 lanes to float16 bits in int16 lanes, nearest even; magnitudes above 65504 become 65504.

    NaN stays NaN.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes, wide = v.lanes, ir.VectorType(I32, v.lanes)
        top, bottom = constant(v, [65504.0] * lanes), constant(v, [-65504.0] * lanes)
        x = builder.select(builder.fcmp_ordered(">", args[0], top), top, args[0])
        x = builder.select(builder.fcmp_ordered("<", x, bottom), bottom, x)
        if isa.current().half:
            half = builder.fptrunc(x, Vector("f16", lanes).llvm)
            return builder.bitcast(half, sig.return_type.llvm)
        bits = builder.bitcast(x, wide)
        sign = builder.and_(bits, ir.Constant(wide, [0x80000000] * lanes))
        magnitude = builder.bitcast(builder.xor(bits, sign), v.llvm)
        # Adding a power of two as far above the value as float32 has more digits than float16 rounds
        # it to float16's digits; below 2**-14 the distance is fixed, which gives the subnormals.
        exponent = builder.and_(builder.bitcast(magnitude, wide), ir.Constant(wide, [0x7F800000] * lanes))
        least = ir.Constant(wide, [(127 - 14) << 23] * lanes)
        exponent = builder.select(builder.icmp_signed(">", exponent, least), exponent, least)
        anchor = builder.bitcast(builder.add(exponent, ir.Constant(wide, [13 << 23] * lanes)), v.llvm)
        rounded = builder.fsub(builder.fadd(magnitude, anchor), anchor)
        scaled = builder.fmul(rounded, constant(v, [2.0**-112] * lanes))
        half = builder.lshr(builder.bitcast(scaled, wide), ir.Constant(wide, [13] * lanes))
        half = builder.or_(half, builder.lshr(sign, ir.Constant(wide, [16] * lanes)))
        return builder.trunc(half, sig.return_type.llvm)

    return Vector("i16", v.lanes)(v), codegen


@intrinsic
def bfloat_to_float(typing: Any, v: Any) -> Any:
    """Bfloat16 bits in int16 lanes to float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        wide = builder.zext(args[0], ir.VectorType(I32, v.lanes))
        return builder.bitcast(
            builder.shl(wide, ir.Constant(wide.type, [16] * v.lanes)), sig.return_type.llvm
        )

    return Vector("f32", v.lanes)(v), codegen


@intrinsic
def float_to_bfloat(typing: Any, v: Any) -> Any:
    """Float32 lanes to bfloat16 bits in int16 lanes, nearest even; NaN stays NaN."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        wide = ir.VectorType(I32, v.lanes)
        sixteen, one, below_half = (ir.Constant(wide, [n] * v.lanes) for n in (16, 1, 0x7FFF))
        bits = builder.bitcast(args[0], wide)
        odd = builder.and_(builder.lshr(bits, sixteen), one)
        rounded = builder.add(builder.add(bits, below_half), odd)
        quiet = builder.or_(bits, ir.Constant(wide, [0x00400000] * v.lanes))
        rounded = builder.select(builder.fcmp_unordered("uno", args[0], args[0]), quiet, rounded)
        return builder.trunc(builder.lshr(rounded, sixteen), sig.return_type.llvm)

    return Vector("i16", v.lanes)(v), codegen
