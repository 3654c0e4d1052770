"""How keys and values lie in the KV cache, of each layer and kv head.

F16     keys      [capacity / 16][head_dim][16 positions]        float16
        values    [capacity][head_dim]                           float16
Q8_0    keys      [capacity / 16] times  [head_dim][16 positions]   int8
                                         [groups][16 positions]     float16 scales
        values    [capacity] times       [head_dim]                 int8
                                         [groups]                   float16 scales

A position of keys per lane makes a dot product of 16 positions at once. A group is 32 dimensions, or
what is left of them.
"""

from __future__ import annotations

from typing import Any

from ...simd.addresses import inline, load_half, store_i16
from ...simd.conversions import (
    float_to_half,
    half_to_float,
    narrow_to_i8,
    round_to_int,
    to_float,
    widen_to_i32,
)
from ...simd.mathematics import nan_unless_finite
from ...simd.vectors import (
    first_word,
    largest_magnitude,
    load_f32x16,
    load_i8x16,
    load_i16x16,
    splat_f32x16,
    store,
    store_lanes,
)


def make_loads(cache_type: str, head_dim: int) -> tuple[Any, Any, Any, Any]:
    """Functions that read: all give f32x16.

    key_scales(block, group), load_keys(block, d, scales): dimension d of 16 positions.
    value_scale(row, group), load_values(row, d, scale): dimensions d to d + 15 of a position.
    """
    if cache_type == "Q8_0":
        return _loads_q8_0(head_dim)

    @inline
    def no_scale(address, group):
        return splat_f32x16(1.0)

    @inline
    def load_keys(block, d, scales):
        return half_to_float(load_i16x16(block + 32 * d))

    @inline
    def load_values(row, d, scale):
        return half_to_float(load_i16x16(row + 2 * d))

    return no_scale, load_keys, no_scale, load_values


def _loads_q8_0(head_dim: int) -> tuple[Any, Any, Any, Any]:
    @inline
    def key_scales(block, group):
        return half_to_float(load_i16x16(block + 16 * head_dim + 32 * group))

    @inline
    def load_keys(block, d, scales):
        return to_float(widen_to_i32(load_i8x16(block + 16 * d))) * scales

    @inline
    def value_scale(row, group):
        return splat_f32x16(load_half(row + head_dim + 2 * group))

    @inline
    def load_values(row, d, scale):
        return to_float(widen_to_i32(load_i8x16(row + d))) * scale

    return key_scales, load_keys, value_scale, load_values


def make_stores(cache_type: str) -> tuple[Any, Any]:
    """`store_key(row, keys, position, head_dim)` and `store_value(row, values, position, head_dim)`.

    row: float32 (head_dim,). keys, values: where the kv head's begin.
    """
    return _stores_q8_0() if cache_type == "Q8_0" else _stores_f16()


def _stores_f16() -> tuple[Any, Any]:
    @inline
    def store_key(row, keys, position, head_dim):
        at = keys + position // 16 * head_dim * 32 + 2 * (position % 16)
        for d in range(0, head_dim, 16):
            store_lanes(at + 32 * d, float_to_half(nan_unless_finite(load_f32x16(row + 4 * d))), 32)

    @inline
    def store_value(row, values, position, head_dim):
        at = values + 2 * head_dim * position
        for d in range(0, head_dim, 16):
            store(at + 2 * d, float_to_half(nan_unless_finite(load_f32x16(row + 4 * d))))

    return store_key, store_value


@inline
def _scale_of_group(row, d, head_dim):
    """The largest magnitude of up to 32 values, over 127; NaN where one is not finite."""
    first = load_f32x16(row + 4 * d)
    second = first
    if d + 16 < head_dim:
        second = load_f32x16(row + 4 * d + 64)
    largest = largest_magnitude(first, second)
    return largest / 127 + (largest - largest)


@inline
def _quantized(row, d, scale):
    inverse = splat_f32x16(1 / scale if scale > 0 else scale)
    return narrow_to_i8(round_to_int(load_f32x16(row + 4 * d) * inverse))


def _stores_q8_0() -> tuple[Any, Any]:
    @inline
    def store_key(row, keys, position, head_dim):
        block = keys + position // 16 * (16 * head_dim + 32 * ((head_dim + 31) // 32))
        lane = position % 16
        for d in range(0, head_dim, 32):
            scale = _scale_of_group(row, d, head_dim)
            store_i16(block + 16 * head_dim + d + 2 * lane, first_word(float_to_half(splat_f32x16(scale))))
            for part in range(d, min(d + 32, head_dim), 16):
                store_lanes(block + 16 * part + lane, _quantized(row, part, scale), 16)

    @inline
    def store_value(row, values, position, head_dim):
        at = values + position * (head_dim + 2 * ((head_dim + 31) // 32))
        for d in range(0, head_dim, 32):
            scale = _scale_of_group(row, d, head_dim)
            store_i16(at + head_dim + d // 16, first_word(float_to_half(splat_f32x16(scale))))
            for part in range(d, min(d + 32, head_dim), 16):
                store(at + part, _quantized(row, part, scale))

    return store_key, store_value
