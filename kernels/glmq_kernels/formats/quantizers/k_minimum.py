"""Q2_K, Q4_K and Q5_K: blocks of 256 weights in groups with a scale and a minimum, both integer codes.

What is stored where: `formats/unpack/q2_k.py`, `q4_k.py` and `q5_k.py`. The method is llama.cpp's
(ggml-quants.c).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import inline, load_f32, store_u8
from ...simd.comparisons import greater, select
from ...simd.conversions import float_to_half, half_to_float, narrow_to_i8, round_to_int
from ...simd.vectors import (
    divide,
    i8x32,
    load_f32x16,
    load_i8x32,
    make_constant,
    maximum,
    minimum,
    splat_f32x16,
    splat_i8x32,
    store,
    zero_f32x16,
)
from .lanes import VECTOR, hidden, magnitude, rounded, rounded_between, square_root, sum_of_vectors, turn
from .minimum_fit import fit_with_minimum
from .scale_fit import fit_scales as fit_weighted_scales
from .super_block_scratch import (
    AT_ONCE,
    BLOCK,
    BLOCK_MINIMA,
    BLOCK_SCALES,
    CODE_LANES,
    FITTED_CODES,
    MINIMA,
    MINIMUM_BITS,
    MINIMUM_CODES,
    NUMBER_LANES,
    PER_GROUP,
    SCALE_BITS,
    SCALE_CODES,
    SCALES,
    SUMS_OF_WEIGHTS,
    TRIED_CODES,
    TURNED_VALUES,
    TURNED_WEIGHTS,
    VALUES,
    WEIGHT_CODES,
    WEIGHT_LANES,
)
from .super_blocks import make_quantize, store_half

one, two, three, four, six = (make_constant(i8x32, [n] * 32) for n in (1, 2, 3, 4, 6))


@inline
def _weigh_by_magnitude(values, weights, count):
    """w = |x|"""
    for i in range(0, VECTOR * count, VECTOR):
        store(weights + i, magnitude(load_f32x16(values + i)))


@inline
def _weigh_by_mean_and_magnitude(values, weights, count):
    """w = sqrt(mean of x²) + |x|"""
    squares = zero_f32x16()
    for i in range(0, VECTOR * count, VECTOR):
        x = load_f32x16(values + i)
        squares = squares + x * x
    mean = square_root(squares * splat_f32x16(np.float32(1.0) / np.float32(count)))
    for i in range(0, VECTOR * count, VECTOR):
        store(weights + i, mean + magnitude(load_f32x16(values + i)))


def _make_fit(group: int, largest: int, first: float, step: float, tries: int, absolute: bool) -> Any:
    """Step 2; the last four are for weights without importance."""

    @inline
    def fit(scratch, place, has_importance):
        start = np.float32(-0.9) if has_importance else np.float32(first)
        by = np.float32(0.05) if has_importance else np.float32(step)
        scale, low = fit_with_minimum(
            scratch + TURNED_VALUES,
            scratch + TURNED_WEIGHTS,
            scratch + TRIED_CODES,
            group,
            np.float32(largest),
            start,
            by,
            37 if has_importance else tries + 1,
            absolute and not has_importance,
        )
        store(scratch + SCALES + place, scale)
        store(scratch + MINIMA + place, zero_f32x16() - low)
        store(scratch + SUMS_OF_WEIGHTS + place, sum_of_vectors(scratch + TURNED_WEIGHTS, group))

    return fit


@inline
def _fit_by_largest(values, codes, count, largest):
    """Codes of sixteen blocks' scales, the largest of a block having the largest code."""
    zero, top = zero_f32x16(), splat_f32x16(largest)
    high = zero
    for i in range(0, VECTOR * count, VECTOR):
        high = maximum(high, load_f32x16(values + i))
    inverse = select(greater(high, zero), divide(top, high), zero)
    for i in range(0, VECTOR * count, VECTOR):
        store(codes + i, minimum(rounded(inverse * load_f32x16(values + i)), top))
    return divide(high, top)


def _make_fit_scales(groups: int, largest: int) -> Any:
    """Step 3, for scales and minima."""

    @inline
    def fit_scales(scratch, has_importance):
        lanes, codes, largest_code = scratch + NUMBER_LANES, scratch + CODE_LANES, np.float32(largest)
        turn(scratch + SUMS_OF_WEIGHTS, 4 * groups, scratch + WEIGHT_LANES, VECTOR, 16, groups)
        for which in range(hidden(2)):  # scales, minima
            turn(scratch + SCALES + which * PER_GROUP, 4 * groups, lanes, VECTOR, 16, groups)
            if has_importance:
                scale = fit_weighted_scales(lanes, scratch + WEIGHT_LANES, codes, groups, largest_code)
            else:
                scale = _fit_by_largest(lanes, codes, groups, largest_code)
            half = float_to_half(scale)
            store(scratch + SCALE_BITS + which * 2 * AT_ONCE, half)
            store(scratch + BLOCK_SCALES + which * 4 * AT_ONCE, half_to_float(half))
            turn(codes, VECTOR, scratch + SCALE_CODES + which * PER_GROUP, 4 * groups, groups, 16)

    return fit_scales


def _make_code(group: int, largest: int) -> Any:
    """Step 4: the codes of a block's weights, as bytes."""
    groups = BLOCK // group

    @inline
    def code(scratch, block):
        block_scale = load_f32(scratch + BLOCK_SCALES + 4 * block)
        block_minimum = load_f32(scratch + BLOCK_MINIMA + 4 * block)
        zero, top = zero_f32x16(), splat_f32x16(np.float32(largest))
        for j in range(hidden(groups)):
            place = 4 * (groups * block + j)
            scale = block_scale * load_f32(scratch + SCALE_CODES + place)
            low = block_minimum * load_f32(scratch + MINIMUM_CODES + place)
            for i in range(group // 16):
                place = BLOCK * block + group * j + 16 * i
                codes = load_f32x16(scratch + FITTED_CODES + 4 * place)
                if scale != np.float32(0.0):
                    x = load_f32x16(scratch + VALUES + 4 * place)
                    codes = rounded_between(divide(x + splat_f32x16(low), splat_f32x16(scale)), zero, top)
                store(scratch + WEIGHT_CODES + group * j + 16 * i, narrow_to_i8(round_to_int(codes)))

    return code


@inline
def _byte(address):
    """A whole number from 0 to 255, stored as float32."""
    return np.int64(load_f32(address))


@inline
def _store_six_bit_codes(scratch, block, out):
    """Eight pairs of codes of six bits, as `formats/unpack/q4_k.py` draws them."""
    for i in range(hidden(4)):
        place = 4 * (8 * block + i)
        scale, low = _byte(scratch + SCALE_CODES + place), _byte(scratch + MINIMUM_CODES + place)
        high_scale = _byte(scratch + SCALE_CODES + place + 16)
        high_low = _byte(scratch + MINIMUM_CODES + place + 16)
        store_u8(out + i, np.uint8(scale | high_scale >> 4 << 6))
        store_u8(out + 4 + i, np.uint8(low | high_low >> 4 << 6))
        store_u8(out + 8 + i, np.uint8(high_scale & 15 | (high_low & 15) << 4))


_code_q2_k = _make_code(16, 3)


@inline
def _write_q2_k(scratch, block, out):
    _code_q2_k(scratch, block)
    for i in range(hidden(16)):
        place = 4 * (16 * block + i)
        scale, low = _byte(scratch + SCALE_CODES + place), _byte(scratch + MINIMUM_CODES + place)
        store_u8(out + i, np.uint8(scale | low << 4))
    for i in range(2):
        codes = scratch + WEIGHT_CODES + 128 * i
        packed = load_i8x32(codes) | load_i8x32(codes + 32) << two()
        packed = packed | load_i8x32(codes + 64) << four() | load_i8x32(codes + 96) << six()
        store(out + 16 + 32 * i, packed)
    store_half(scratch, SCALE_BITS, block, out + 80)
    store_half(scratch, MINIMUM_BITS, block, out + 82)


_code_q4_k = _make_code(32, 15)


@inline
def _write_q4_k(scratch, block, out):
    _code_q4_k(scratch, block)
    store_half(scratch, SCALE_BITS, block, out)
    store_half(scratch, MINIMUM_BITS, block, out + 2)
    _store_six_bit_codes(scratch, block, out + 4)
    for i in range(4):
        codes = scratch + WEIGHT_CODES + 64 * i
        store(out + 16 + 32 * i, load_i8x32(codes) | load_i8x32(codes + 32) << four())


_code_q5_k = _make_code(32, 31)


@inline
def _write_q5_k(scratch, block, out):
    _code_q5_k(scratch, block)
    store_half(scratch, SCALE_BITS, block, out)
    store_half(scratch, MINIMUM_BITS, block, out + 2)
    _store_six_bit_codes(scratch, block, out + 4)
    fifth_bits, mask = splat_i8x32(0), splat_i8x32(15)
    for i in range(4):
        codes = scratch + WEIGHT_CODES + 192 - 64 * i
        low, high = load_i8x32(codes), load_i8x32(codes + 32)
        store(out + 48 + 96 - 32 * i, low & mask | (high & mask) << four())
        fifth_bits = fifth_bits << two() | low >> four() | high >> four() << one()
    store(out + 16, fifth_bits)


_KINDS = {
    "Q2_K": (16, 84, 1.0, _weigh_by_magnitude, (3, -0.5, 0.1, 15, True), 15, _write_q2_k),
    "Q4_K": (32, 144, 2.0, _weigh_by_mean_and_magnitude, (15, -1.0, 0.1, 20, False), 63, _write_q4_k),
    "Q5_K": (32, 176, 2.0, _weigh_by_mean_and_magnitude, (31, -0.5, 0.1, 15, False), 63, _write_q5_k),
}


def quantize(type_name: str) -> Any:
    """Kernel: weights to blocks of a type."""
    group, block_bytes, variance_factor, weigh_alone, search, largest, write = _KINDS[type_name]
    fit, fit_scales = _make_fit(group, *search), _make_fit_scales(BLOCK // group, largest)
    return make_quantize(group, block_bytes, variance_factor, weigh_alone, fit, fit_scales, write)
