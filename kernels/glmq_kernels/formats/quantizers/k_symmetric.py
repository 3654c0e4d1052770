"""Q3_K and Q6_K: blocks of 256 weights in groups of 16 with a scale, which is an integer code.

What is stored where: `formats/unpack/q3_k.py` and `q6_k.py`. The method is llama.cpp's (ggml-quants.c).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import inline, load_f32, store_u8
from ...simd.comparisons import select
from ...simd.conversions import float_to_half, half_to_float, narrow_to_i8, round_to_int
from ...simd.vectors import (
    divide,
    i8x32,
    load_f32x16,
    load_i8x32,
    make_constant,
    splat_f32x16,
    splat_i8x32,
    store,
    zero_f32x16,
)
from .lanes import VECTOR, hidden, rounded_between, sum_of_vectors, turn, weigh_by_square
from .super_block_scratch import (
    BLOCK,
    BLOCK_SCALES,
    CODE_LANES,
    FITTED_CODES,
    NUMBER_LANES,
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
from .symmetric_fit import fit_symmetric, fit_symmetric_by_sweeps, largest_weight

GROUP = 16
GROUPS_OF_BLOCK = BLOCK // GROUP
one, two, four, six = (make_constant(i8x32, [n] * 32) for n in (1, 2, 4, 6))


@inline
def _fit_q3_k(scratch, place, has_importance):
    """Step 2."""
    values, weights, codes = scratch + TURNED_VALUES, scratch + TURNED_WEIGHTS, scratch + TRIED_CODES
    if has_importance:
        scale = fit_symmetric(values, weights, codes, GROUP, np.float32(4.0))
    else:
        scale = fit_symmetric_by_sweeps(values, codes, GROUP, np.float32(4.0))
    store(scratch + SCALES + place, scale)
    store(scratch + SUMS_OF_WEIGHTS + place, sum_of_vectors(weights, GROUP))


@inline
def _fit_q6_k(scratch, place, has_importance):
    """Step 2."""
    values, weights, codes = scratch + TURNED_VALUES, scratch + TURNED_WEIGHTS, scratch + TRIED_CODES
    store(scratch + SCALES + place, fit_symmetric(values, weights, codes, GROUP, np.float32(32.0)))


@inline
def _fit_by_largest(values, codes, largest, code_of_nothing):
    """Codes of the scales of sixteen blocks, of which that of the largest magnitude has the code -N.

    code_of_nothing: what the scales get of a block of zeros.
    """
    zero, low, high = zero_f32x16(), splat_f32x16(-largest), splat_f32x16(largest - np.float32(1.0))
    extreme, is_nothing = largest_weight(values, GROUPS_OF_BLOCK)
    inverse = divide(low, extreme)
    for i in range(0, hidden(VECTOR * GROUPS_OF_BLOCK), VECTOR):
        code = rounded_between(inverse * load_f32x16(values + i), low, high)
        store(codes + i, select(is_nothing, splat_f32x16(code_of_nothing), code))
    return select(is_nothing, zero, divide(splat_f32x16(1.0), inverse))


def _make_fit_scales(largest: int, code_of_nothing: int, use_weights: bool) -> Any:
    """Step 3. use_weights: whether the scales of groups are weighed where there is importance."""

    @inline
    def fit_scales(scratch, has_importance):
        values, weights, codes = scratch + NUMBER_LANES, scratch + WEIGHT_LANES, scratch + CODE_LANES
        turn(scratch + SCALES, VECTOR, values, VECTOR, 16, GROUPS_OF_BLOCK)
        if use_weights and has_importance:
            turn(scratch + SUMS_OF_WEIGHTS, VECTOR, weights, VECTOR, 16, GROUPS_OF_BLOCK)
            scale = fit_symmetric(values, weights, codes, GROUPS_OF_BLOCK, np.float32(largest))
        else:
            scale = _fit_by_largest(values, codes, np.float32(largest), np.float32(code_of_nothing))
        half = float_to_half(scale)
        store(scratch + SCALE_BITS, half)
        store(scratch + BLOCK_SCALES, half_to_float(half))
        turn(codes, VECTOR, scratch + SCALE_CODES, VECTOR, GROUPS_OF_BLOCK, 16)

    return fit_scales


def _make_code(largest: int) -> Any:
    """Step 4: the codes of a block's weights, as bytes from 0 on."""

    @inline
    def code(scratch, block):
        block_scale = load_f32(scratch + BLOCK_SCALES + 4 * block)
        low, high = splat_f32x16(np.float32(-largest)), splat_f32x16(np.float32(largest - 1))
        for j in range(hidden(GROUPS_OF_BLOCK)):
            scale = block_scale * load_f32(scratch + SCALE_CODES + 4 * (GROUPS_OF_BLOCK * block + j))
            place = 4 * (BLOCK * block + GROUP * j)
            codes = load_f32x16(scratch + FITTED_CODES + place)
            if scale != np.float32(0.0):
                x = load_f32x16(scratch + VALUES + place)
                codes = rounded_between(divide(x, splat_f32x16(scale)), low, high)
            store(scratch + WEIGHT_CODES + GROUP * j, narrow_to_i8(round_to_int(codes - low)))

    return code


@inline
def _scale_code(scratch, block, i):
    return np.int64(load_f32(scratch + SCALE_CODES + 4 * (GROUPS_OF_BLOCK * block + i)))


_code_q3_k = _make_code(4)


@inline
def _write_q3_k(scratch, block, out):
    _code_q3_k(scratch, block)
    third_bits, mask = splat_i8x32(0), splat_i8x32(3)
    for i in range(8):
        third_bits = third_bits << one() | load_i8x32(scratch + WEIGHT_CODES + 224 - 32 * i) >> two()
    store(out, third_bits)
    for i in range(2):
        codes = scratch + WEIGHT_CODES + 128 * i
        packed = load_i8x32(codes) & mask | (load_i8x32(codes + 32) & mask) << two()
        packed = packed | (load_i8x32(codes + 64) & mask) << four() | (load_i8x32(codes + 96) & mask) << six()
        store(out + 32 + 32 * i, packed)
    for i in range(hidden(4)):
        a, b = _scale_code(scratch, block, i) + 32, _scale_code(scratch, block, i + 4) + 32
        c, d = _scale_code(scratch, block, i + 8) + 32, _scale_code(scratch, block, i + 12) + 32
        store_u8(out + 96 + i, np.uint8(a & 15 | (c & 15) << 4))
        store_u8(out + 100 + i, np.uint8(b & 15 | (d & 15) << 4))
        store_u8(out + 104 + i, np.uint8(a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6))
    store_half(scratch, SCALE_BITS, block, out + 108)


_code_q6_k = _make_code(32)


@inline
def _write_q6_k(scratch, block, out):
    _code_q6_k(scratch, block)
    mask = splat_i8x32(15)
    for i in range(2):
        codes, low_bits = scratch + WEIGHT_CODES + 128 * i, out + 64 * i
        a, b, c, d = load_i8x32(codes), load_i8x32(codes + 32), load_i8x32(codes + 64), load_i8x32(codes + 96)
        store(low_bits, a & mask | (c & mask) << four())
        store(low_bits + 32, b & mask | (d & mask) << four())
        store(
            out + 128 + 32 * i,
            a >> four() | b >> four() << two() | c >> four() << four() | d >> four() << six(),
        )
    codes = load_f32x16(scratch + SCALE_CODES + VECTOR * block)
    store(out + 192, narrow_to_i8(round_to_int(codes)))
    store_half(scratch, SCALE_BITS, block, out + 208)


_KINDS = {
    "Q3_K": (110, 2.0, weigh_by_square, _fit_q3_k, _make_fit_scales(32, -32, True), _write_q3_k),
    "Q6_K": (210, 0.0, weigh_by_square, _fit_q6_k, _make_fit_scales(128, 0, False), _write_q6_k),
}


def quantize(type_name: str) -> Any:
    """Kernel: weights to blocks of a type."""
    return make_quantize(GROUP, *_KINDS[type_name])
