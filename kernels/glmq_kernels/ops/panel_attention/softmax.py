"""The online softmax of a row over panels of positions, with weights as int16.

As `ops/attention/softmax.py`, but scores are in powers of two, a chunk's weights are relative to the chunk's
own largest score, and what they add up to is taken after rounding, so that an output stays a mean of values.
"""

from __future__ import annotations

from ...simd.addresses import inline, load_f32, store_f32
from ...simd.conversions import ROUNDING, narrow_to_i16
from ...simd.mathematics import power_of_two
from ...simd.vectors import (
    bitcast_i32x16,
    first_lane,
    keep_lanes,
    load_f32x16,
    max_lane,
    maximum,
    splat_f32x16,
    store,
    sum_lanes,
    zero_f32x16,
)
from ..attention.softmax import NOTHING
from .sizes import LARGEST_AT, SUM_AT, WEIGHT_BITS, WEIGHT_SCALE_AT

LEAST = -1e30
"""What counts as a chunk's largest score where a row sees none of it."""


@inline
def hide(scores, n_seen, count):
    """Nothing in place of the scores of positions that a row does not see."""
    for b in range(0, count, 16):
        block = load_f32x16(scores + 4 * b)
        store(scores + 4 * b, keep_lanes(block, n_seen - b, splat_f32x16(NOTHING)))


@inline
def weigh_chunk(scores, weights, out, columns, count, row_state):
    """A row's scores of `count` positions to int16 weights; its out is scaled to the new largest score."""
    largest = splat_f32x16(LEAST)
    for b in range(0, count, 16):
        largest = maximum(largest, load_f32x16(scores + 4 * b))
    before, here = load_f32(row_state + LARGEST_AT), max_lane(largest)
    total, rounding, top = zero_f32x16(), splat_f32x16(ROUNDING), splat_f32x16(here - WEIGHT_BITS)
    for b in range(0, count, 16):
        shifted = power_of_two(load_f32x16(scores + 4 * b) - top) + rounding
        total = total + (shifted - rounding)
        store(weights + 2 * b, narrow_to_i16(bitcast_i32x16(shifted)))
    now = max(before, here)
    take = first_lane(power_of_two(splat_f32x16(here - now - WEIGHT_BITS)))
    store_f32(row_state + WEIGHT_SCALE_AT, take)
    added = take * sum_lanes(total)
    if now > before:
        keep = power_of_two(splat_f32x16(before - now))
        for d in range(0, columns, 16):
            store(out + 4 * d, load_f32x16(out + 4 * d) * keep)
        store_f32(row_state + LARGEST_AT, now)
        store_f32(row_state + SUM_AT, load_f32(row_state + SUM_AT) * first_lane(keep) + added)
    else:
        store_f32(row_state + SUM_AT, load_f32(row_state + SUM_AT) + added)
