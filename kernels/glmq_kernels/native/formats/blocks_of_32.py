"""What the formats with one scale for 32 weights share."""

from __future__ import annotations

from typing import Any

from ..conversions import to_float
from ..dot import make_dot
from ..memory import inline, load_f32, load_half, prefetch
from ..simd import (
    bitcast_i8x64,
    bitcast_i16x32,
    fma,
    i16x32,
    join_f32x8,
    join_i8x16,
    join_i8x32,
    load_i8x16,
    load_i8x32,
    load_i8x64,
    make_constant,
    splat_f32x8,
    splat_i8x16,
    splat_i8x64,
    sum_lanes,
    zero_f32x16,
    zero_i32x8,
    zero_i32x16,
)

PREFETCH_BYTES = 2048
"""How far ahead weights are asked for: without it a core reads at a third of the memory's speed."""

four_in_words = make_constant(i16x32, [4] * 32)


@inline
def nibbles_in_order(packed):
    """The 32 nibbles at an address of 16 bytes: the low ones, then the high ones."""
    both = load_i8x16(packed)
    mask = splat_i8x16(15)
    return join_i8x16(both & mask, (both >> splat_i8x16(4)) & mask)


@inline
def low_nibbles(packed):
    """The low nibble of each of 64 bytes."""
    return packed & splat_i8x64(15)


@inline
def high_nibbles(packed):
    """The high nibble of each of 64 bytes, shifted as 16-bit words, which every CPU can."""
    return bitcast_i8x64(bitcast_i16x32(packed) >> four_in_words()) & splat_i8x64(15)


def make_dot_from(size: int, weights: Any, constant: Any, wide: bool) -> Any:
    """`dot_from(first, row, q, scale, sum32, columns)`: a row's blocks from `first` on, two at a time.

    size: bytes of a block, which begins with its float16 scale. `weights(block)`: its 32 unsigned
    weights as int8. `constant(block, scale)`: what its weights have in common, times 1.
    """
    dot = make_dot(wide)

    @inline
    def dot_from(first, row, q, scale, sum32, columns):
        count = columns // 32
        total = zero_f32x16()
        common = 0.0
        i = first
        while i + 1 < count:
            p = row + i * size
            prefetch(p + PREFETCH_BYTES)
            d0, d1 = load_half(p), load_half(p + size)
            factors = join_f32x8(
                splat_f32x8(d0 * load_f32(scale + 4 * i)), splat_f32x8(d1 * load_f32(scale + 4 * i + 4))
            )
            both = join_i8x32(weights(p), weights(p + size))
            total = fma(to_float(dot(zero_i32x16(), both, load_i8x64(q + 32 * i))), factors, total)
            common += constant(p, d0) * load_f32(sum32 + 4 * i)
            common += constant(p + size, d1) * load_f32(sum32 + 4 * i + 4)
            i += 2
        result = sum_lanes(total)
        if i < count:
            p = row + i * size
            d0 = load_half(p)
            products = to_float(dot(zero_i32x8(), weights(p), load_i8x32(q + 32 * i)))
            result += sum_lanes(products) * d0 * load_f32(scale + 4 * i)
            common += constant(p, d0) * load_f32(sum32 + 4 * i)
        return result + common

    return dot_from


def make_dot_row(size: int, weights: Any, constant: Any, wide: bool) -> Any:
    """`dot_row` of a format (see this package) from the parts that `make_dot_from` takes."""
    dot_from = make_dot_from(size, weights, constant, wide)

    @inline
    def dot_row(row, q, scale, sum16, sum32, columns):
        return dot_from(0, row, q, scale, sum32, columns)

    return dot_row
