"""Weights to blocks of 32, bit for bit as `gguf.quants` makes them.

Two vectors of 16 are one block of 32. Products and sums stay separate operations (never fused), and
divisions are real divisions, because the reference rounds after each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...simd.addresses import argument, inline, store_i64
from ...simd.conversions import float_to_half, narrow_to_i8
from ...simd.vectors import (
    I32,
    call_llvm,
    f32x16,
    i32x16,
    make_constant,
    minimum,
    splat_f32x8,
    splat_f32x16,
    store,
    zero_i32x16,
)
from .arguments import QuantizeRows
from .source import bits_of, larger, largest_lane, load_16, magnitude_bits

INFINITY = np.float32(np.inf)
four = make_constant(i32x16, [4] * 16)


@intrinsic
def _float_of(typing: Any, bits: Any) -> Any:
    """The float32 with the bits of an int32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


@intrinsic
def _first_is_negative(typing: Any, low: Any, high: Any, magnitude: Any) -> Any:
    """Whether the first of 32 floats (given as bits) that has this magnitude is negative."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        low_bits, high_bits, wanted = args
        kind = low_bits.type
        undefined = ir.Constant(kind, ir.Undefined)
        wanted = builder.insert_element(undefined, wanted, I32(0))
        wanted = builder.shuffle_vector(wanted, wanted, ir.Constant(ir.VectorType(I32, 16), [0] * 16))
        mask = ir.Constant(kind, [0x7FFFFFFF] * 16)

        def lanes_where(test: Any) -> Any:
            low_lanes, high_lanes = (
                builder.zext(builder.bitcast(test(v), ir.IntType(16)), I32) for v in (low_bits, high_bits)
            )
            return builder.or_(low_lanes, builder.shl(high_lanes, I32(16)))

        has = lanes_where(lambda v: builder.icmp_signed("==", builder.and_(v, mask), wanted))
        negative = lanes_where(lambda v: builder.icmp_signed("<", v, ir.Constant(kind, [0] * 16)))
        first = call_llvm(builder, "llvm.cttz.i32", I32, [has, ir.IntType(1)(0)])
        first = builder.and_(first, I32(31))
        return builder.trunc(builder.lshr(negative, first), ir.IntType(1))

    return types.boolean(i32x16, i32x16, types.int32), codegen


@intrinsic
def _truncate(typing: Any, v: Any) -> Any:
    """Float32 lanes to int32, towards zero."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fptosi(args[0], sig.return_type.llvm)

    return i32x16(f32x16), codegen


@intrinsic
def _round_half_away(typing: Any, v: Any) -> Any:
    """Float32 lanes to the nearest int32, halves away from zero."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.return_type.llvm
        whole = builder.fptosi(args[0], kind)
        rest = builder.fsub(args[0], builder.sitofp(whole, v.llvm))
        up = builder.fcmp_ordered(">=", rest, ir.Constant(v.llvm, [0.5] * v.lanes))
        down = builder.fcmp_ordered("<=", rest, ir.Constant(v.llvm, [-0.5] * v.lanes))
        return builder.add(builder.add(whole, builder.zext(up, kind)), builder.sext(down, kind))

    return i32x16(f32x16), codegen


@inline
def _q8_0(low, high, largest, out):
    scale = _float_of(largest) / np.float32(127.0)
    inverse = np.float32(1.0) / scale if scale > np.float32(0.0) else np.float32(0.0)
    if inverse == INFINITY:
        inverse = np.float32(0.0)
    factor = splat_f32x16(inverse)
    store(out, float_to_half(splat_f32x8(scale)))  # 16 bytes, all but 2 of them overwritten next
    store(out + 2, narrow_to_i8(_round_half_away(low * factor)))
    store(out + 18, narrow_to_i8(_round_half_away(high * factor)))


@inline
def _q4_0(low, high, largest, out):
    scale = _float_of(largest) / np.float32(8.0)
    if not _first_is_negative(bits_of(low), bits_of(high), largest):
        scale = -scale
    inverse = np.float32(1.0) / scale if scale != np.float32(0.0) else np.float32(0.0)
    middle = np.float32(8.5)
    if inverse == INFINITY or inverse == -INFINITY:
        inverse, middle = np.float32(0.0), np.float32(0.0)  # what the reference makes of infinity
    factor, offset, top = splat_f32x16(inverse), splat_f32x16(middle), splat_f32x16(np.float32(15.5))
    first = _truncate(minimum(low * factor + offset, top))
    second = _truncate(minimum(high * factor + offset, top))
    store(out, float_to_half(splat_f32x8(scale)))
    store(out + 2, narrow_to_i8(first | (second << four())))


WRITERS = {"Q8_0": (_q8_0, 34), "Q4_0": (_q4_0, 18)}


def quantize(type_name: str) -> Any:
    """Kernel: weights to blocks of 32 of a tensor type."""
    write, block_bytes = WRITERS[type_name]

    def kernel(args, thread, threads):
        source, kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
        count, out = argument(args, QuantizeRows.N_WEIGHTS) // 32, argument(args, QuantizeRows.OUT)
        worst = zero_i32x16()
        for i in range(count):
            low, high = load_16(source, kind, 32 * i), load_16(source, kind, 32 * i + 16)
            largest = larger(magnitude_bits(low), magnitude_bits(high))
            worst = larger(worst, largest)
            write(low, high, largest_lane(largest), out + block_bytes * i)
        store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))

    return kernel
