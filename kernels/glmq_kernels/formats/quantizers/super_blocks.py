"""What the types share whose blocks are 256 weights: sixteen blocks at a time, in four steps.

1. Their weights become floats, as they lie.
2. The groups of one or two blocks, sixteen of 16 or of 32 weights, are turned to lanes, and each gets its
   best scale (and minimum).
3. The scales of sixteen blocks are turned to lanes, a block in each, and become integer codes with a scale
   of their own, which is stored as float16.
4. Block by block, weights get the codes that fit the scales as stored, and all is packed.

The memory in which this happens is laid out here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import argument, inline, load_f32, store_i64
from ...simd.vectors import load_f32x16, splat_f32x16, store, zero_f32x16, zero_i32x16
from .arguments import QuantizeRows
from .lanes import VECTOR, sums_of_squares, turn, weigh
from .source import larger, largest_lane, load_16, magnitude_bits

BLOCK = 256
AT_ONCE = 16
"""Blocks that are worked on together."""

VALUES = 0  # the weights of sixteen blocks, as they lie
WEIGHTS = VALUES + AT_ONCE * BLOCK * 4  # of errors, for one or two blocks, as they lie
TURNED_VALUES = WEIGHTS + 2 * BLOCK * 4  # the same two, turned
TURNED_WEIGHTS = TURNED_VALUES + 2 * BLOCK * 4
TRIED_CODES = TURNED_WEIGHTS + 2 * BLOCK * 4
VARIANCES = TRIED_CODES + 2 * BLOCK * 4  # of each block, σ²

GROUPS = VARIANCES + AT_ONCE * 4
"""Here begin numbers of groups, those of a block one after the other, for the groups of sixteen blocks."""
PER_GROUP = AT_ONCE * 16 * 4
SCALES, MINIMA, INVERSES, BASES, SUMS_OF_WEIGHTS = (GROUPS + i * PER_GROUP for i in range(5))

BLOCKS = GROUPS + 5 * PER_GROUP
"""Here begin the same turned, a block in each lane, and what is made of them."""
SCALE_LANES, MINIMUM_LANES, WEIGHT_LANES, CODE_LANES = (BLOCKS + i * PER_GROUP for i in range(4))

CODES = BLOCKS + 4 * PER_GROUP
"""Here begin the integer codes of scales and minima, as float32, those of a block one after the other."""
SCALE_CODES, MINIMUM_CODES = CODES, CODES + PER_GROUP
BLOCK_SCALES = CODES + 2 * PER_GROUP  # of each block, as they are stored, as float32
BLOCK_MINIMA = BLOCK_SCALES + AT_ONCE * 4
SCALE_BITS = BLOCK_MINIMA + AT_ONCE * 4  # the same as float16
MINIMUM_BITS = SCALE_BITS + AT_ONCE * 2
WEIGHT_CODES = MINIMUM_BITS + AT_ONCE * 2  # of the weights of one block, bytes

SCRATCH_BYTES = WEIGHT_CODES + BLOCK


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

    group: weights that share a scale, 16 or 32. variance_factor: σ² is so many times the mean of x².
    `weigh_alone(values, weights, count)` puts the weights of errors without importance, for `count` vectors.
    `fit(scratch, place, has_importance)` finds scales of sixteen groups, and puts them from `place` on in
    each of the numbers of groups. `fit_scales(scratch, has_importance)` makes codes of those of sixteen
    blocks. `write(scratch, i, out)` packs block i.
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
        values = scratch + VALUES + 4 * BLOCK * block
        turned = scratch + TURNED_VALUES
        turn(values, 4 * group, turned, VECTOR, 16, group)
        if importance:
            for i in range(blocks_turned):
                column = (first + block + i) * BLOCK % columns
                weigh(
                    values + 4 * BLOCK * i,
                    importance + 4 * column,
                    load_f32(scratch + VARIANCES + 4 * (block + i)),
                    scratch + WEIGHTS + 4 * BLOCK * i,
                    BLOCK,
                )
            turn(scratch + WEIGHTS, 4 * group, scratch + TURNED_WEIGHTS, VECTOR, 16, group)
        else:
            weigh_alone(turned, scratch + TURNED_WEIGHTS, group)

    def kernel(args, thread, threads):
        source, kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
        n_blocks, out = argument(args, QuantizeRows.N_WEIGHTS) // BLOCK, argument(args, QuantizeRows.OUT)
        columns, importance = argument(args, QuantizeRows.COLUMNS), argument(args, QuantizeRows.IMPORTANCE)
        scratch = argument(args, QuantizeRows.SCRATCH)
        worst = zero_i32x16()
        for first in range(0, n_blocks, AT_ONCE):
            count = min(AT_ONCE, n_blocks - first)
            worst = load(source, kind, first, count, scratch + VALUES, worst)
            if importance:
                squares = sums_of_squares(scratch + VALUES, 4 * BLOCK, BLOCK, scratch + TURNED_VALUES)
                store(scratch + VARIANCES, squares * splat_f32x16(np.float32(variance_factor / BLOCK)))
            for block in range(0, count, blocks_turned):
                weigh_and_turn(scratch, block, first, importance, columns)
                fit(scratch, block * groups * 4, importance != 0)
            fit_scales(scratch, importance != 0)
            for i in range(count):
                write(scratch, i, out + block_bytes * (first + i))
        store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))

    return kernel


@inline
def sum_of_vectors(vectors, count):
    """The sum of each lane, over `count` vectors at an address."""
    found = zero_f32x16()
    for i in range(0, VECTOR * count, VECTOR):
        found = found + load_f32x16(vectors + i)
    return found
