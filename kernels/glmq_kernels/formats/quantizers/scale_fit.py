"""Integer codes for the scales of a block, and the scale of these: s ≈ scale · l, with s and l not negative.

The search is that of llama.cpp (`make_qp_quants` in ggml-quants.c): the best of nine steps, then at most five
times through all codes, each of which may change when that leaves less over.
"""

from __future__ import annotations

import numpy as np

from ...simd.addresses import inline
from ...simd.comparisons import any_lane, greater, not_equal, select
from ...simd.vectors import divide, load_f32x16, maximum, minimum, splat_f32x16, store, zero_f32x16
from .lanes import VECTOR, hidden, rounded

LEAST = 1e-15
"""Groups without a larger magnitude than this count as zeros (GROUP_MAX_EPS)."""
SWEEPS = 5


@inline
def _error(values, weights, count, inverse, top):
    """What codes by an inverse scale leave over: weighted squares."""
    found, scale = zero_f32x16(), divide(splat_f32x16(1.0), inverse)
    for i in range(0, VECTOR * count, VECTOR):
        x = load_f32x16(values + i)
        rest = x - scale * minimum(rounded(inverse * x), top)
        found = found + load_f32x16(weights + i) * rest * rest
    return found


@inline
def fit_scales(values, weights, codes, count, largest):
    """The best scale of sixteen blocks, each with `count` scales of its own.

    values, weights: addresses of `count` vectors, a lane for each block. codes: where the codes go, as many
    vectors of whole numbers from 0 to `largest` (float32). Gives the scales of the blocks.
    """
    count = hidden(count)
    zero, top = zero_f32x16(), splat_f32x16(largest)
    high = zero
    for i in range(0, VECTOR * count, VECTOR):
        high = maximum(high, load_f32x16(values + i))
    is_nothing = greater(splat_f32x16(np.float32(LEAST)), high)
    inverse = divide(top, high)
    least = _error(values, weights, count, inverse, top)
    for step in range(-4, hidden(5)):
        if step != 0:
            trial = divide(splat_f32x16(np.float32(0.1) * np.float32(step) + largest), high)
            error = _error(values, weights, count, trial, top)
            is_better = greater(least, error)
            inverse, least = select(is_better, trial, inverse), select(is_better, error, least)
    sum_xl, sum_l2 = zero, zero
    for i in range(0, VECTOR * count, VECTOR):
        x, w = load_f32x16(values + i), load_f32x16(weights + i)
        code = minimum(rounded(inverse * x), top)
        store(codes + i, code)
        sum_xl = sum_xl + w * x * code
        sum_l2 = sum_l2 + w * code * code
    for _ in range(hidden(SWEEPS)):
        sum_xl, sum_l2, has_changed = _sweep(values, weights, codes, count, top, sum_xl, sum_l2)
        if not has_changed:
            break
    for i in range(0, VECTOR * count, VECTOR):
        store(codes + i, select(is_nothing, zero, load_f32x16(codes + i)))
    found = select(greater(sum_l2, zero), divide(sum_xl, sum_l2), zero)
    return select(is_nothing, zero, found)


@inline
def _sweep(values, weights, codes, count, top, sum_xl, sum_l2):
    """Once through all codes; gives the sums Σwxl and Σwl², and whether a code has changed."""
    zero = zero_f32x16()
    changes = greater(zero, zero)
    for i in range(0, VECTOR * count, VECTOR):
        x, w, code = load_f32x16(values + i), load_f32x16(weights + i), load_f32x16(codes + i)
        rest_xl, rest_l2 = sum_xl - w * x * code, sum_l2 - w * code * code
        is_usable = greater(rest_xl, zero) & greater(rest_l2, zero)
        new = minimum(rounded(select(is_usable, divide(x * rest_l2, rest_xl), zero)), top)
        new_xl, new_l2 = rest_xl + w * x * new, rest_l2 + w * new * new
        is_better = is_usable & greater(new_xl * new_xl * sum_l2, sum_xl * sum_xl * new_l2)
        is_better = is_better & not_equal(new, code)
        store(codes + i, select(is_better, new, code))
        sum_xl, sum_l2 = select(is_better, new_xl, sum_xl), select(is_better, new_l2, sum_l2)
        changes = changes | is_better
    return sum_xl, sum_l2, any_lane(changes)
