"""What the types share whose blocks are 256 weights: sixteen blocks at a time, in four steps.

1. Their weights become floats, as they lie.
2. The groups of one or two blocks, sixteen of 16 or of 32 weights, are turned to lanes, and each gets its
   best scale (and minimum).
3. The scales of sixteen blocks are turned to lanes, a block in each, and become integer codes with a scale
   of their own, which is stored as float16.
4. Block by block, weights get the codes that fit the scales as stored, and all is packed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import argument, inline, load_f32, load_u16, store_i16, store_i64
from ...simd.vectors import load_f32x16, splat_f32x16, store, zero_i32x16
from .arguments import QuantizeRows
from .lanes import VECTOR, copy_importance, sums_of_squares, turn, weigh
from .source import larger, largest_lane, load_16, magnitude_bits
from .super_block_scratch import (
    AT_ONCE,
    BLOCK,
    FITTED_CODES,
    IMPORTANCE,
    TRIED_CODES,
    TURNED_VALUES,
    TURNED_WEIGHTS,
    VALUES,
    VARIANCES,
)


def make_quantize(
    group: int,
    block_bytes: int,
    variance_factor: float,
    weigh_alone: Any,
    fit: Any,
    fit_scales: Any,
    write: Any,
) -> Any:
    """Kernel: weights to blocks of 256 of a type.

    group: weights that share a scale, 16 or 32. variance_factor: σ² is so many times the mean of
    x²; 0: the importance itself is the weight.
    `weigh_alone(values, weights, count)` puts the weights of errors without importance, for `count` vectors.
    `fit(scratch, place, has_importance)` finds scales of sixteen groups, puts them from `place` on in
    each of the numbers of groups, and the codes that they are made for in `TRIED_CODES`.
    `fit_scales(scratch, has_importance)` makes codes of those of sixteen blocks.
    `write(scratch, i, out)` packs block i.
    """
    groups = BLOCK // group
    blocks_turned = 16 // groups

    @inline
    def load(source, kind, first, count, values, worst):
        for i in range(BLOCK // 16 * count):
            v = load_16(source, kind, BLOCK * first + 16 * i)
            worst = larger(worst, magnitude_bits(v))
            store(values + VECTOR * i, v)
        return worst

    @inline
    def weigh_and_turn(scratch, block, first, importance, columns):
        values, weights = scratch + TURNED_VALUES, scratch + TURNED_WEIGHTS
        turn(scratch + VALUES + 4 * BLOCK * block, 4 * group, values, VECTOR, 16, group)
        if importance:
            first_weight = BLOCK * (first + block)
            copy_importance(importance, columns, first_weight, BLOCK, blocks_turned, scratch + IMPORTANCE)
            turn(scratch + IMPORTANCE, 4 * group, weights, VECTOR, 16, group)
            if variance_factor:
                weigh(values, weights, load_f32x16(scratch + VARIANCES + 4 * groups * block), group)
        else:
            weigh_alone(values, weights, group)

    @inline
    def find_variances(scratch, count):
        squares = sums_of_squares(scratch + VALUES, 4 * BLOCK, BLOCK, scratch + TURNED_VALUES)
        store(scratch + TURNED_VALUES, squares * splat_f32x16(np.float32(variance_factor / BLOCK)))
        for i in range(count):
            variance = splat_f32x16(load_f32(scratch + TURNED_VALUES + 4 * i))
            store(scratch + VARIANCES + 4 * groups * i, variance)

    def kernel(args, thread, threads):
        source, kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
        n_blocks, out = argument(args, QuantizeRows.N_WEIGHTS) // BLOCK, argument(args, QuantizeRows.OUT)
        columns, importance = argument(args, QuantizeRows.COLUMNS), argument(args, QuantizeRows.IMPORTANCE)
        scratch = argument(args, QuantizeRows.SCRATCH)
        worst = zero_i32x16()
        for first in range(0, n_blocks, AT_ONCE):
            count = min(AT_ONCE, n_blocks - first)
            worst = load(source, kind, first, count, scratch + VALUES, worst)
            if importance and variance_factor:
                find_variances(scratch, count)
            for block in range(0, count, blocks_turned):
                weigh_and_turn(scratch, block, first, importance, columns)
                fit(scratch, block * groups * 4, importance != 0)
                fitted = scratch + FITTED_CODES + 4 * BLOCK * block
                turn(scratch + TRIED_CODES, VECTOR, fitted, 4 * group, group, 16)
            fit_scales(scratch, importance != 0)
            for i in range(count):
                write(scratch, i, out + block_bytes * (first + i))
        store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))

    return kernel


@inline
def store_half(scratch, numbers, block, address):
    """Store one of the float16 numbers of sixteen blocks."""
    store_i16(address, np.int16(load_u16(scratch + numbers + 2 * block)))
