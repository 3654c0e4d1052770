"""Scale of sixteen groups of weights: x ≈ scale · l, l from -N to N - 1.

The searches are those of llama.cpp (`make_qx_quants`, `make_q3_quants` in ggml-quants.c). Both begin with the
scale that gives the weight of the largest magnitude the code -N.
"""

from __future__ import annotations

import numpy as np

from ...simd.addresses import inline
from ...simd.comparisons import any_lane, greater, not_equal, select
from ...simd.vectors import divide, load_f32x16, splat_f32x16, store, zero_f32x16
from .lanes import VECTOR, hidden, magnitude, rounded_between
from .scale_fit import LEAST, SWEEPS


@inline
def largest_weight(values, count):
    """Of each lane the value of the largest magnitude, the first of several; and whether all are zeros."""
    found = load_f32x16(values)
    highest = magnitude(found)
    for i in range(VECTOR, VECTOR * count, VECTOR):
        x = load_f32x16(values + i)
        is_larger = greater(magnitude(x), highest)
        found, highest = select(is_larger, x, found), select(is_larger, magnitude(x), highest)
    return found, greater(splat_f32x16(np.float32(LEAST)), highest)


@inline
def fit_symmetric(values, weights, codes, count, largest):
    """The best scale of sixteen groups, of nineteen tried.

    values, weights: addresses of `count` vectors, a lane for each group. codes: where the codes go, -N for
    zeros. largest: N, float32. Gives the scales.
    """
    count = hidden(count)
    zero, low, high = zero_f32x16(), splat_f32x16(-largest), splat_f32x16(largest - np.float32(1.0))
    extreme, is_nothing = largest_weight(values, count)
    scale, best, inverse = zero, zero, zero
    for i in range(hidden(19)):
        step = i - 10 + (i > 9) if i else 0
        trial = divide(splat_f32x16(-(largest + np.float32(0.1) * np.float32(step))), extreme)
        sum_xl, sum_l2 = zero, zero
        for j in range(0, VECTOR * count, VECTOR):
            x, w = load_f32x16(values + j), load_f32x16(weights + j)
            code = rounded_between(trial * x, low, high)
            sum_xl = sum_xl + w * x * code
            sum_l2 = sum_l2 + w * code * code
        is_better = greater(sum_l2, zero) & greater(sum_xl * sum_xl, best * sum_l2)
        if i == 0:
            inverse = trial
        inverse = select(is_better, trial, inverse)
        scale = select(is_better, divide(sum_xl, sum_l2), scale)
        best = select(is_better, scale * sum_xl, best)
    for i in range(0, VECTOR * count, VECTOR):
        code = rounded_between(inverse * load_f32x16(values + i), low, high)
        store(codes + i, select(is_nothing, low, code))
    return select(is_nothing, zero, scale)


@inline
def fit_symmetric_by_sweeps(values, codes, count, largest):
    """The best scale of sixteen groups with squares as weights, changing code by code, at most five times.

    values: address of `count` vectors, a lane for each group. codes: where the codes go, -N for zeros.
    largest: N, float32. Gives the scales.
    """
    count = hidden(count)
    zero, low, high = zero_f32x16(), splat_f32x16(-largest), splat_f32x16(largest - np.float32(1.0))
    extreme, is_nothing = largest_weight(values, count)
    inverse = select(is_nothing, zero, divide(low, extreme))
    sum_xl, sum_l2 = zero, zero
    for i in range(0, VECTOR * count, VECTOR):
        x = load_f32x16(values + i)
        w, code = x * x, rounded_between(inverse * x, low, high)
        store(codes + i, code)
        sum_xl = sum_xl + w * x * code
        sum_l2 = sum_l2 + w * code * code
    for _ in range(hidden(SWEEPS)):
        changes = greater(zero, zero)
        for i in range(0, VECTOR * count, VECTOR):
            x, code = load_f32x16(values + i), load_f32x16(codes + i)
            w = x * x
            rest_xl, rest_l2 = sum_xl - w * x * code, sum_l2 - w * code * code
            is_usable = greater(rest_xl, zero)
            new = rounded_between(select(is_usable, divide(x * rest_l2, rest_xl), zero), low, high)
            new_xl, new_l2 = rest_xl + w * x * new, rest_l2 + w * new * new
            is_better = greater(new_xl * new_xl * sum_l2, sum_xl * sum_xl * new_l2) & greater(new_l2, zero)
            is_better = is_better & is_usable & not_equal(new, code)
            store(codes + i, select(is_better, new, code))
            sum_xl, sum_l2 = select(is_better, new_xl, sum_xl), select(is_better, new_l2, sum_l2)
            changes = changes | is_better
        if not any_lane(changes):
            break
    for i in range(0, VECTOR * count, VECTOR):
        store(codes + i, select(is_nothing, low, load_f32x16(codes + i)))
    return select(is_nothing, zero, divide(sum_xl, sum_l2))
