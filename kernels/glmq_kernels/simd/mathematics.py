"""Functions of float32 vectors."""

from __future__ import annotations

from .addresses import inline
from .conversions import round_to_int, to_float
from .vectors import bitcast_f32x16, divide, fma, i32x16, make_constant, maximum, minimum, splat_f32x16

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
