"""Functions of float32 vectors."""

from __future__ import annotations

from .addresses import inline
from .conversions import ROUNDING, round_to_int, to_float
from .vectors import (
    bitcast_f32x16,
    bitcast_i32x16,
    divide,
    fma,
    i32x16,
    make_constant,
    maximum,
    minimum,
    splat_f32x16,
)

shift_to_exponent = make_constant(i32x16, [23] * 16)
exponent_bias = make_constant(i32x16, [127] * 16)


@inline
def exp(x):
    """e**x of 16 lanes to about one unit in the last place, for x above -87; below that, nearly 0.

    NaN stays NaN.

    x = n ln 2 + r with |r| <= ln 2 / 2, e**r by its Taylor series to r**7, times 2**n through the exponent.
    """
    x = minimum(splat_f32x16(88.0), maximum(splat_f32x16(-87.0), x))
    n = round_to_int(x * splat_f32x16(1.4426950408889634))
    whole = to_float(n)
    r = fma(whole, splat_f32x16(-0.693145751953125), x)
    r = fma(whole, splat_f32x16(-1.4286068203094172e-06), r)
    y = splat_f32x16(1 / 5040)
    y = fma(y, r, splat_f32x16(1 / 720))
    y = fma(y, r, splat_f32x16(1 / 120))
    y = fma(y, r, splat_f32x16(1 / 24))
    y = fma(y, r, splat_f32x16(1 / 6))
    y = fma(y, r, splat_f32x16(0.5))
    y = fma(y, r, splat_f32x16(1.0))
    y = fma(y, r, splat_f32x16(1.0))
    return y * bitcast_f32x16((n + exponent_bias()) << shift_to_exponent())


@inline
def power_of_two(x):
    """2**x of 16 lanes to 3e-6 of it, for x from -100 to 100; of less 2**-100. NaN stays NaN.

    x = n + r with |r| <= 1/2; of the polynomial of r the largest error, as a part of 2**r, is least.
    """
    x = maximum(splat_f32x16(-100.0), x)
    shifted = x + splat_f32x16(ROUNDING)
    r = x - (shifted - splat_f32x16(ROUNDING))
    y = fma(splat_f32x16(0.009560510206472542), r, splat_f32x16(0.05591703917486551))
    y = fma(y, r, splat_f32x16(0.2402498110953744))
    y = fma(y, r, splat_f32x16(0.6931219676960614))
    y = fma(y, r, splat_f32x16(0.9999991908565828))
    return bitcast_f32x16(bitcast_i32x16(y) + (bitcast_i32x16(shifted) << shift_to_exponent()))


@inline
def nan_unless_finite(x):
    """16 lanes as they are, but NaN in place of infinities, which may get lost on their way."""
    return x + (x - x)


@inline
def sigmoid(x):
    """1 / (1 + e**-x) of 16 lanes."""
    return divide(splat_f32x16(1.0), splat_f32x16(1.0) + exp(splat_f32x16(0.0) - x))


@inline
def silu(x):
    """X * sigmoid(x) of 16 lanes. Of infinities it is NaN: its limit, 0, would hide the lower one."""
    # Below -87 the exponential grows no more, so the numerator must not either.
    numerator = maximum(splat_f32x16(-87.0), nan_unless_finite(x))
    return divide(numerator, splat_f32x16(1.0) + exp(splat_f32x16(0.0) - x))
