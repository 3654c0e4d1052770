"""Scale and minimum of sixteen groups of weights: x ≈ scale · l + minimum, l from 0 to N.

The search is that of llama.cpp (`make_qkx2_quants`, `make_qkx3_quants` in ggml-quants.c): for each of a
series of steps the weights are rounded, and what is left over is least by the two numbers that a weighted
regression gives for these codes.
"""

from __future__ import annotations

import numpy as np

from ...simd.addresses import inline
from ...simd.comparisons import at_least, greater, select
from ...simd.vectors import (
    divide,
    load_f32x16,
    maximum,
    minimum,
    splat_f32x16,
    store,
    zero_f32x16,
)
from .lanes import VECTOR, hidden, magnitude, rounded_between


@inline
def _error(values, weights, codes, count, scale, low, absolute):
    """The weighted error of codes: of squares, or of magnitudes."""
    found = zero_f32x16()
    if absolute:
        for i in range(0, VECTOR * count, VECTOR):
            rest = scale * load_f32x16(codes + i) + low - load_f32x16(values + i)
            found = found + load_f32x16(weights + i) * magnitude(rest)
    else:
        for i in range(0, VECTOR * count, VECTOR):
            rest = scale * load_f32x16(codes + i) + low - load_f32x16(values + i)
            found = found + load_f32x16(weights + i) * (rest * rest)
    return found


@inline
def fit_with_minimum(values, weights, codes, count, largest, first, step, tries, absolute):
    """The best scale and minimum of sixteen groups.

    values, weights: addresses of `count` vectors, a lane for each group. codes: where their codes go, as many
    vectors of whole numbers.
    largest: N. first, step, tries: the inverse scales to try are (N + first + step · i) / (high - low).
    absolute: whether errors count by their magnitude, not their square. All numbers are float32.
    Gives scales and minima (0 or below).
    """
    count = hidden(count)
    low = load_f32x16(values)
    high = low
    sum_w = load_f32x16(weights)
    sum_x = sum_w * low
    for i in range(VECTOR, VECTOR * count, VECTOR):
        x, w = load_f32x16(values + i), load_f32x16(weights + i)
        low, high = minimum(low, x), maximum(high, x)
        sum_w = sum_w + w
        sum_x = sum_x + w * x
    zero, one, top = zero_f32x16(), splat_f32x16(1.0), splat_f32x16(largest)
    low = minimum(low, zero)
    is_flat = at_least(low, high)
    flat_minimum = low
    inverse, base = divide(top, high - low), low
    scale = divide(one, inverse)
    for i in range(0, VECTOR * count, VECTOR):
        store(codes + i, rounded_between(inverse * (load_f32x16(values + i) - low), zero, top))
    least = _error(values, weights, codes, count, scale, low, absolute)
    for i in range(tries):
        trial = divide(splat_f32x16(first + step * np.float32(i) + largest), high - low)
        sum_l, sum_l2, sum_xl = zero, zero, zero
        for j in range(0, VECTOR * count, VECTOR):
            x = load_f32x16(values + j)
            code = rounded_between(trial * (x - low), zero, top)
            store(codes + j, code)
            weighted = load_f32x16(weights + j) * code
            sum_l = sum_l + weighted
            sum_l2 = sum_l2 + weighted * code
            sum_xl = sum_xl + weighted * x
        determinant = sum_w * sum_l2 - sum_l * sum_l
        trial_scale = divide(sum_w * sum_xl - sum_x * sum_l, determinant)
        trial_low = divide(sum_l2 * sum_x - sum_l * sum_xl, determinant)
        is_above = greater(trial_low, zero)
        trial_scale = select(is_above, divide(sum_xl, sum_l2), trial_scale)
        trial_low = select(is_above, zero, trial_low)
        error = _error(values, weights, codes, count, trial_scale, trial_low, absolute)
        is_better = greater(determinant, zero) & greater(least, error)
        inverse, base = select(is_better, trial, inverse), select(is_better, low, base)
        scale, low = select(is_better, trial_scale, scale), select(is_better, trial_low, low)
        least = select(is_better, error, least)
    for i in range(0, VECTOR * count, VECTOR):
        code = rounded_between(inverse * (load_f32x16(values + i) - base), zero, top)
        store(codes + i, select(is_flat, zero, code))
    return select(is_flat, zero, scale), select(is_flat, flat_minimum, low)
