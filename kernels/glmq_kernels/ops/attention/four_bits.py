"""Keys and values of four bits: how they are stored, and become those of eight. `rows.py` draws both."""

from __future__ import annotations

from typing import Any

from ...simd.addresses import inline, load_i16, store_i16
from ...simd.conversions import float_to_half, narrow_to_i8, round_to_int
from ...simd.vectors import (
    first_word,
    i8x16,
    i8x32,
    largest_magnitude,
    load_f32x16,
    load_i8x16,
    load_i8x32,
    load_i16x16,
    make_constant,
    max_lane,
    maximum,
    minimum,
    splat_f32x16,
    splat_i32x16,
    store,
    store_lanes,
    zero_f32x16,
)

GROUP_BYTES = 16
"""Of the numbers of a group, one position's."""

_LOWER_32, _EIGHT_32, _FOUR_32 = (make_constant(i8x32, [n] * 32) for n in (15, 8, 4))
_LOWER_16, _EIGHT_16, _FOUR_16 = (make_constant(i8x16, [n] * 16) for n in (15, 8, 4))


@inline
def _group(row, d, columns):
    """Numbers d to d + 31 of a row, with zeros where it has ended."""
    first = load_f32x16(row + 4 * d)
    if d + 16 < columns:
        return first, load_f32x16(row + 4 * d + 64)
    return first, zero_f32x16()


@inline
def _scale_of(first, second):
    """The number of the largest magnitude becomes -8; NaN where one is not finite."""
    largest = largest_magnitude(first, second)
    highest = max_lane(maximum(first, second))
    return (highest if highest >= largest else -largest) / -8 + (largest - largest)


@inline
def _nibbles(first, second, scale):
    """16 bytes, as i8x16."""
    inverse = splat_f32x16(1 / scale if scale != 0 else scale)
    low = round_to_int(minimum(first * inverse, splat_f32x16(7.0))) + splat_i32x16(8)
    high = round_to_int(minimum(second * inverse, splat_f32x16(7.0))) + splat_i32x16(8)
    return narrow_to_i8(low | (high << splat_i32x16(4)))


@inline
def store_key_q4_0(row, keys, place, key_dim):
    """Float32 (key_dim,) becomes a turned key."""
    groups = (key_dim + 31) // 32
    block, lane = keys + place // 16 * 16 * (GROUP_BYTES + 2) * groups, place % 16
    for g in range(groups):
        first, second = _group(row, 32 * g, key_dim)
        scale = _scale_of(first, second)
        half = first_word(float_to_half(splat_f32x16(scale)))
        store_i16(block + 16 * GROUP_BYTES * groups + 32 * g + 2 * lane, half)
        store_lanes(block + 16 * GROUP_BYTES * g + lane, _nibbles(first, second, scale), 16)


@inline
def store_row_q4_0(row, rows, place, columns):
    """Float32 (columns,) becomes a row."""
    groups = (columns + 31) // 32
    at = rows + place * (GROUP_BYTES + 2) * groups
    for g in range(groups):
        first, second = _group(row, 32 * g, columns)
        scale = _scale_of(first, second)
        store_i16(at + GROUP_BYTES * groups + 2 * g, first_word(float_to_half(splat_f32x16(scale))))
        store(at + GROUP_BYTES * g, _nibbles(first, second, scale))


def make_unpack_keys(key_dim: int) -> Any:
    """`unpack(keys, target)`: a block of 16 turned keys to one of eight bits."""
    groups = -(-key_dim // 32)

    @inline
    def unpack(keys, target):
        for g in range(groups):
            for i in range(0, 16, 2):
                both = load_i8x32(keys + 16 * GROUP_BYTES * g + 16 * i)
                to = target + 16 * (32 * g + i)
                store(to, (both & _LOWER_32()) - _EIGHT_32())
                if 32 * g + 16 < key_dim:
                    store(to + 256, (both >> _FOUR_32()) - _EIGHT_32())
        for g in range(groups):
            scales = load_i16x16(keys + 16 * GROUP_BYTES * groups + 32 * g)
            store(target + 16 * key_dim + 32 * g, scales)

    return unpack


def make_unpack_row(columns: int) -> Any:
    """`unpack(row, target)`: a row to one of eight bits."""
    groups = -(-columns // 32)

    @inline
    def unpack(row, target):
        for g in range(groups):
            both = load_i8x16(row + GROUP_BYTES * g)
            store(target + 32 * g, (both & _LOWER_16()) - _EIGHT_16())
            if 32 * g + 16 < columns:
                store(target + 32 * g + 16, (both >> _FOUR_16()) - _EIGHT_16())
        for g in range(groups):
            store_i16(target + columns + 2 * g, load_i16(row + GROUP_BYTES * groups + 2 * g))

    return unpack
