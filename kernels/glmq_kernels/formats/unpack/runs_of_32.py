"""What the formats share that store runs of 32 weights in the same 32 bytes, some bits higher each."""

from __future__ import annotations

from typing import Any

from ...simd.addresses import inline
from ...simd.vectors import (
    bitcast_i8x64,
    bitcast_i16x32,
    i16x32,
    load_i8x32,
    make_constant,
    make_shuffle,
    splat_i8x64,
)

both_halves = make_shuffle([*range(32), *range(32)])


@inline
def load_twice(p):
    """The 32 bytes at an address, twice."""
    v = load_i8x32(p)
    return both_halves(v, v)


def make_bits(low_shift: int, high_shift: int, mask: int) -> Any:
    """`bits(v)`: bytes shifted right by `low_shift` in the lower, `high_shift` in the upper half, masked.

    Negative shifts go left. Words are shifted, which every CPU can, so the mask must take off what
    comes over from a neighbour.
    """
    right = make_constant(i16x32, [max(low_shift, 0)] * 16 + [max(high_shift, 0)] * 16)
    left = make_constant(i16x32, [max(-low_shift, 0)] * 16 + [max(-high_shift, 0)] * 16)
    to_right, to_left = max(low_shift, high_shift) > 0, min(low_shift, high_shift) < 0

    @inline
    def bits(v):
        words = bitcast_i16x32(v)
        if to_right:
            words = words >> right()
        if to_left:
            words = words << left()
        return bitcast_i8x64(words) & splat_i8x64(mask)

    return bits
