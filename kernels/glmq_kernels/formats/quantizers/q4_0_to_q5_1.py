"""Q4_0, Q4_1, Q5_0 and Q5_1: blocks of 32 weights with a scale, and of the second of each pair a minimum.

What is stored where: `formats/unpack/q4_0.py` and so on. Without importance bit for bit as `gguf.quants`
makes them, with it as llama.cpp does (ggml-quants.c). Products and sums stay separate operations (never
fused), and divisions are real divisions, because the reference rounds after each.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...simd.addresses import inline, load_u16, store_i16, store_i32
from ...simd.comparisons import greater, mask_bits
from ...simd.conversions import float_to_half, narrow_to_i8, round_to_int
from ...simd.vectors import (
    I32,
    call_llvm,
    i32x16,
    load_f32x16,
    make_constant,
    max_lane,
    maximum,
    minimum,
    splat_f32x8,
    splat_f32x16,
    splat_i32x16,
    store,
    zero_f32x16,
)
from .lanes import VECTOR
from .minimum_fit import fit_with_minimum
from .rounding import truncate
from .small_block_scratch import (
    BLOCK,
    FITTED_CODES,
    MINIMUM_BITS,
    SCALE_BITS,
    TRIED_CODES,
    TURNED_VALUES,
    TURNED_WEIGHTS,
)
from .small_blocks import make_quantize_by_rows, store_halves
from .source import bits_of, float_of_bits
from .symmetric_fit import fit_symmetric

INFINITY = np.float32(np.inf)
four = make_constant(i32x16, [4] * 16)


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


@inline
def _pack_4(first, second, out):
    """32 codes from 0 to 15 (two vectors of int32)."""
    store(out, narrow_to_i8(first | (second << four())))


@inline
def _pack_5(first, second, out):
    """32 codes from 0 to 31: their fifth bits, then the rest."""
    below = splat_i32x16(15)
    fifth_bits = mask_bits(greater(first, below)) | mask_bits(greater(second, below)) << 16
    store_i32(out, np.int32(fifth_bits))
    _pack_4(first & below, second & below, out + 4)


@inline
def _inverse(scale):
    """1 / scale, and 0 where that is not finite."""
    inverse = np.float32(1.0) / scale if scale != np.float32(0.0) else np.float32(0.0)
    if inverse == INFINITY or inverse == -INFINITY:
        inverse = np.float32(0.0)
    return inverse


def _make_symmetric(pack: Any, levels: int) -> Any:
    """Blocks without importance: the weight of the largest magnitude gets the code 0."""
    half_of_levels = levels // 2

    @inline
    def write(low, high, largest, out):
        scale = float_of_bits(largest) / np.float32(half_of_levels)
        if not _first_is_negative(bits_of(low), bits_of(high), largest):
            scale = -scale
        inverse = _inverse(scale)
        middle = np.float32(half_of_levels + 0.5)
        if inverse == np.float32(0.0) and scale != np.float32(0.0):
            middle = np.float32(0.0)  # what the reference makes of an infinite inverse
        factor, offset = splat_f32x16(inverse), splat_f32x16(middle)
        top = splat_f32x16(np.float32(levels - 0.5))
        store(out, float_to_half(splat_f32x8(scale)))  # 16 bytes, all but 2 of them overwritten next
        pack(
            truncate(minimum(low * factor + offset, top)),
            truncate(minimum(high * factor + offset, top)),
            out + 2,
        )

    return write


def _make_with_minimum(pack: Any, levels: int) -> Any:
    """Blocks without importance: the least weight gets the code 0, the largest one the last code."""

    @inline
    def write(low, high, largest, out):
        zero = zero_f32x16()
        least = np.float32(0.0) - max_lane(maximum(zero - low, zero - high))
        scale = (max_lane(maximum(low, high)) - least) / np.float32(levels - 1)
        factor, base = splat_f32x16(_inverse(scale)), splat_f32x16(least)
        half, top = splat_f32x16(np.float32(0.5)), splat_f32x16(np.float32(levels - 0.5))
        store(out, float_to_half(splat_f32x8(scale)))
        store(out + 2, float_to_half(splat_f32x8(least)))
        pack(
            truncate(minimum((low - base) * factor + half, top)),
            truncate(minimum((high - base) * factor + half, top)),
            out + 4,
        )

    return write


def _make_symmetric_fit(levels: int) -> Any:
    half_of_levels = levels // 2

    @inline
    def fit(scratch):
        values, weights, codes = scratch + TURNED_VALUES, scratch + TURNED_WEIGHTS, scratch + TRIED_CODES
        scale = fit_symmetric(values, weights, codes, BLOCK, np.float32(half_of_levels))
        store_halves(scratch, SCALE_BITS, scale)

    return fit


def _make_fit_with_minimum(levels: int) -> Any:
    @inline
    def fit(scratch):
        scale, least = fit_with_minimum(
            scratch + TURNED_VALUES,
            scratch + TURNED_WEIGHTS,
            scratch + TRIED_CODES,
            BLOCK,
            np.float32(levels - 1),
            np.float32(-0.9),
            np.float32(0.05),
            37,
            False,
        )
        store_halves(scratch, SCALE_BITS, scale)
        store_halves(scratch, MINIMUM_BITS, least)

    return fit


def _make_write(pack: Any, offset: int, has_minimum: bool) -> Any:
    """Blocks with importance; offset: what is added to a code before it is stored."""

    @inline
    def write(scratch, i, out):
        codes = scratch + FITTED_CODES + 4 * BLOCK * i
        above = splat_i32x16(offset)
        first = round_to_int(load_f32x16(codes)) + above
        second = round_to_int(load_f32x16(codes + VECTOR)) + above
        store_i16(out, np.int16(load_u16(scratch + SCALE_BITS + 2 * i)))
        if has_minimum:
            store_i16(out + 2, np.int16(load_u16(scratch + MINIMUM_BITS + 2 * i)))
            pack(first, second, out + 4)
        else:
            pack(first, second, out + 2)

    return write


_KINDS = {"Q4_0": (18, 16, False), "Q4_1": (20, 16, True), "Q5_0": (22, 32, False), "Q5_1": (24, 32, True)}


def quantize(type_name: str) -> Any:
    """Kernel: weights to blocks of a type."""
    block_bytes, levels, has_minimum = _KINDS[type_name]
    pack = _pack_4 if levels == 16 else _pack_5
    if has_minimum:
        alone, fit = _make_with_minimum(pack, levels), _make_fit_with_minimum(levels)
    else:
        alone, fit = _make_symmetric(pack, levels), _make_symmetric_fit(levels)
    write = _make_write(pack, 0 if has_minimum else levels // 2, has_minimum)
    return make_quantize_by_rows(block_bytes, alone, fit, write)
