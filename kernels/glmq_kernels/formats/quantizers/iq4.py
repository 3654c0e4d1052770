"""IQ4_NL and IQ4_XS: codes are places in a code book, 32 weights have a scale.

What is stored where: `formats/unpack/iq4_nl.py` and `iq4_xs.py`. The method is llama.cpp's (ggml-quants.c).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import argument, inline, load_f32, load_u16, store_i16, store_i32, store_i64
from ...simd.comparisons import not_equal, select
from ...simd.conversions import float_to_half, narrow_to_i8
from ...simd.vectors import (
    divide,
    i32x16,
    load_f32x16,
    make_constant,
    splat_f32x16,
    store,
    zero_f32x16,
    zero_i32x16,
)
from . import small_block_scratch as small
from . import super_block_scratch as super_
from .arguments import QuantizeRows
from .code_book_fit import fit_code_book, nearest_place
from .lanes import VECTOR, hidden, rounded_between, sum_of_squares, turn, weigh, weigh_by_square
from .small_blocks import load, load_importance, store_halves
from .source import largest_lane
from .super_blocks import make_quantize, store_half
from .symmetric_fit import largest_weight

four = make_constant(i32x16, [4] * 16)
GROUP = 32


@inline
def _pack(values, scale, out):
    """The nibbles of 32 weights by their scale."""
    inverse = np.float32(1.0) / scale if scale != np.float32(0.0) else np.float32(0.0)
    first = nearest_place(load_f32x16(values) * splat_f32x16(inverse))
    second = nearest_place(load_f32x16(values + VECTOR) * splat_f32x16(inverse))
    store(out, narrow_to_i8(first | (second << four())))


IQ4_NL_BYTES = 18


@inline
def _fit_iq4_nl(scratch, block, columns, importance):
    """Scales of sixteen blocks, as float32 and as they are stored."""
    values, weights = scratch + small.TURNED_VALUES, scratch + small.TURNED_WEIGHTS
    turn(scratch + small.VALUES, 4 * GROUP, values, VECTOR, small.AT_ONCE, GROUP)
    if importance:
        load_importance(importance, columns, block, scratch)
        variances = sum_of_squares(values, GROUP) * splat_f32x16(np.float32(2 / GROUP))
        weigh(values, weights, variances, GROUP)
    else:
        weigh_by_square(values, weights, GROUP)
    scale = fit_code_book(values, weights, GROUP)
    store(scratch + small.SCALES, scale)
    store_halves(scratch, small.SCALE_BITS, scale)


def _quantize_iq4_nl(args, thread, threads):
    source, kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
    n_blocks, out = argument(args, QuantizeRows.N_WEIGHTS) // GROUP, argument(args, QuantizeRows.OUT)
    columns, importance = argument(args, QuantizeRows.COLUMNS), argument(args, QuantizeRows.IMPORTANCE)
    scratch = argument(args, QuantizeRows.SCRATCH)
    worst = zero_i32x16()
    for first in range(0, n_blocks, small.AT_ONCE):
        count = min(small.AT_ONCE, n_blocks - first)
        worst = load(source, kind, first, count, scratch + small.VALUES, worst)
        _fit_iq4_nl(scratch, first, columns, importance)
        for i in range(count):
            block = out + IQ4_NL_BYTES * (first + i)
            store_i16(block, np.int16(load_u16(scratch + small.SCALE_BITS + 2 * i)))
            values = scratch + small.VALUES + 4 * GROUP * i
            _pack(values, load_f32(scratch + small.SCALES + 4 * i), block + 2)
    store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))


@inline
def _fit_iq4_xs(scratch, place, has_importance):
    """Step 2."""
    values, weights = scratch + super_.TURNED_VALUES, scratch + super_.TURNED_WEIGHTS
    store(scratch + super_.SCALES + place, fit_code_book(values, weights, GROUP))


@inline
def _fit_scales_iq4_xs(scratch, has_importance):
    """Step 3: the scale of the largest magnitude has the code -32. The scale of blocks is not yet rounded."""
    lanes, codes, groups = scratch + super_.NUMBER_LANES, scratch + super_.CODE_LANES, 8
    turn(scratch + super_.SCALES, 4 * groups, lanes, VECTOR, super_.AT_ONCE, groups)
    extreme, _ = largest_weight(lanes, groups)
    zero, low, high = zero_f32x16(), splat_f32x16(-32.0), splat_f32x16(31.0)
    scale = divide(extreme, low)
    inverse = select(not_equal(scale, zero), divide(splat_f32x16(1.0), scale), zero)
    for i in range(0, hidden(VECTOR * groups), VECTOR):
        store(codes + i, rounded_between(inverse * load_f32x16(lanes + i), low, high))
    store(scratch + super_.BLOCK_SCALES, scale)
    store(scratch + super_.SCALE_BITS, float_to_half(scale))
    turn(codes, VECTOR, scratch + super_.SCALE_CODES, 4 * groups, groups, super_.AT_ONCE)


@inline
def _write_iq4_xs(scratch, block, out):
    """Step 4."""
    block_scale = load_f32(scratch + super_.BLOCK_SCALES + 4 * block)
    low_bits = high_bits = 0
    for j in range(hidden(8)):
        code = load_f32(scratch + super_.SCALE_CODES + 4 * (8 * block + j))
        values = scratch + super_.VALUES + 4 * (super_.BLOCK * block + GROUP * j)
        _pack(values, block_scale * code, out + 8 + 16 * j)
        low_bits |= (np.int64(code) + 32 & 15) << 4 * j
        high_bits |= (np.int64(code) + 32 >> 4) << 2 * j
    store_half(scratch, super_.SCALE_BITS, block, out)
    store_i16(out + 2, np.int16(high_bits))
    store_i32(out + 4, np.int32(low_bits))


def quantize(type_name: str) -> Any:
    """Kernel: weights to blocks of a type."""
    if type_name == "IQ4_NL":
        return _quantize_iq4_nl
    return make_quantize(GROUP, 136, 2.0, weigh_by_square, _fit_iq4_xs, _fit_scales_iq4_xs, _write_iq4_xs)
