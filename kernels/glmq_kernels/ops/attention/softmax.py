"""The online softmax of a part of the positions, and parts put together.

What is kept of a row, beside the sum of values weighted with exp(score - largest): the largest score, and
the sum of these weights.
"""

from __future__ import annotations

from ...simd.addresses import inline, load_f32, store_f32
from ...simd.mathematics import exp, nan_unless_finite
from ...simd.vectors import (
    first_lane,
    fma,
    keep_lanes,
    load_f32x16,
    max_lane,
    maximum,
    splat_f32x16,
    store,
    sum_lanes,
    zero_f32x16,
)
from .scratch import QUERY_SCALE_AT, TAKE_AT

NOTHING = -3.4028234663852886e38
"""Less than every score: the lowest float32."""


@inline
def begin_part(out, columns, row_state):
    """Nothing was seen yet: out = 0."""
    for d in range(0, columns, 16):
        store(out + 4 * d, zero_f32x16())
    store_f32(row_state, NOTHING)
    store_f32(row_state + 4, 0.0)


@inline
def add_chunk(scores, out, columns, n_seen, count, row_state):
    """A row's scores of `count` positions to weights in place; its out is scaled to the new largest score.

    n_seen: positions of these that the row sees. row_state: the largest score and the sum of weights so far.
    """
    largest = splat_f32x16(NOTHING)
    for b in range(0, count, 16):
        block = nan_unless_finite(load_f32x16(scores + 4 * b))
        block = keep_lanes(block, n_seen - b, splat_f32x16(NOTHING))
        store(scores + 4 * b, block)
        largest = maximum(largest, block)
    before = load_f32(row_state)
    now = max(before, max_lane(largest))
    total = zero_f32x16()
    for b in range(0, count, 16):
        p = exp(load_f32x16(scores + 4 * b) - splat_f32x16(now))
        p = keep_lanes(p, n_seen - b, zero_f32x16())
        total = total + p
        store(scores + 4 * b, p)
    factor = exp(splat_f32x16(before - now))
    store_f32(row_state, now)
    store_f32(row_state + 4, load_f32(row_state + 4) * first_lane(factor) + sum_lanes(total))
    if now > before:
        for d in range(0, columns, 16):
            store(out + 4 * d, load_f32x16(out + 4 * d) * factor)


@inline
def weigh_chunk(scores, out, columns, n_seen, count, row_state):
    """As `add_chunk`, of scores without the query's scale; weights are relative to the chunk's largest."""
    factor, largest = splat_f32x16(load_f32(row_state + QUERY_SCALE_AT)), splat_f32x16(NOTHING)
    for b in range(0, count, 16):
        block = nan_unless_finite(load_f32x16(scores + 4 * b) * factor)
        block = keep_lanes(block, n_seen - b, splat_f32x16(NOTHING))
        store(scores + 4 * b, block)
        largest = maximum(largest, block)
    before, here = load_f32(row_state), max_lane(largest)
    now, total = max(before, here), zero_f32x16()
    for b in range(0, count, 16):
        p = keep_lanes(exp(load_f32x16(scores + 4 * b) - splat_f32x16(here)), n_seen - b, zero_f32x16())
        total = total + p
        store(scores + 4 * b, p)
    keep = exp(splat_f32x16(before - now))
    take = first_lane(exp(splat_f32x16(here - now)))
    store_f32(row_state, now)
    store_f32(row_state + 4, load_f32(row_state + 4) * first_lane(keep) + take * sum_lanes(total))
    store_f32(row_state + TAKE_AT, take)
    if now > before:
        for d in range(0, columns, 16):
            store(out + 4 * d, load_f32x16(out + 4 * d) * keep)


@inline
def copy_part(part, part_state, out, row_state, columns):
    """The first part of a row is its result so far."""
    store_f32(row_state, load_f32(part_state))
    store_f32(row_state + 4, load_f32(part_state + 4))
    for d in range(0, columns, 16):
        store(out + 4 * d, load_f32x16(part + 4 * d))


@inline
def merge_part(part, part_state, out, row_state, columns):
    """A further part joins the result so far."""
    before, others = load_f32(row_state), load_f32(part_state)
    now = max(before, others)
    keep, take = exp(splat_f32x16(before - now)), exp(splat_f32x16(others - now))
    total = load_f32(row_state + 4) * first_lane(keep) + load_f32(part_state + 4) * first_lane(take)
    store_f32(row_state, now)
    store_f32(row_state + 4, total)
    for d in range(0, columns, 16):
        at = out + 4 * d
        store(at, fma(load_f32x16(part + 4 * d), take, load_f32x16(at) * keep))


@inline
def divided(source, row_state, out, columns):
    """The weighted values over the sum of their weights."""
    factor = splat_f32x16(1 / load_f32(row_state + 4))
    for d in range(0, columns, 16):
        store(out + 4 * d, load_f32x16(source + 4 * d) * factor)
