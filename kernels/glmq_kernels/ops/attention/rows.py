"""How keys and values lie in a page, of one layer and kv head, and how they are read and written.

Keys are turned, in blocks of 16 positions, so that a vector holds one number of 16 keys:

F16     keys      [positions / 16][key_dim][16 positions]           float16
Q8_0    keys      [positions / 16] times  [key_dim][16 positions]   int8
                                          [groups][16 positions]    float16 scales
Q4_0    keys      [positions / 16] times  [groups][16][16 positions]  two numbers of four bits in a byte
                                          [groups][16 positions]      float16 scales
F32     keys      [positions / 16][key_dim][16 positions]           float32

Values, and keys that hold the values, lie in rows:

F16     values    [positions][value_dim]                            float16
Q8_0    values    [positions] times       [value_dim]               int8
                                          [groups]                  float16 scales
Q4_0    values    [positions] times       [groups][16]              two numbers in a byte
                                          [groups]                  float16 scales
F32     values    [positions][value_dim]                            float32

A group is 32 numbers of a row, or what is left of them. Byte i of 16 has number i of a group in its lower
half and number 16 + i in its upper one, each 8 more than a signed number. Four bits are never multiplied:
keys and values become those of Q8_0 first.

Values are always finite: in place of one that is not there are zeros, and its key holds a NaN. So a position
that a query does not see, whose weight is 0, adds 0 to its output whatever was stored.
"""

from __future__ import annotations

from typing import Any

from ...simd.addresses import inline, load_half, store_f32, store_i16
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
    load_f32x8,
    load_f32x16,
    load_i8x8,
    load_i8x16,
    load_i16x8,
    load_i16x16,
    splat_f32x8,
    splat_f32x16,
    store,
    store_lanes,
    sum_lanes,
    zero_f32x16,
)
from .four_bits import store_key_q4_0, store_row_q4_0


@inline
def _no_scale(address, group):
    return splat_f32x16(1.0)


def make_key_loads(kept_as: str, key_dim: int) -> tuple[Any, Any]:
    """`scales(block, group)` and `load(block, d, scales)`: number d of 16 turned keys, f32x16."""

    @inline
    def scales_q8_0(block, group):
        return half_to_float(load_i16x16(block + 16 * key_dim + 32 * group))

    @inline
    def load_q8_0(block, d, scales):
        return to_float(widen_to_i32(load_i8x16(block + 16 * d))) * scales

    @inline
    def load_f16(block, d, scales):
        return half_to_float(load_i16x16(block + 32 * d))

    @inline
    def load_f32(block, d, scales):
        return load_f32x16(block + 64 * d)

    return {
        "F16": (_no_scale, load_f16),
        "F32": (_no_scale, load_f32),
        "Q8_0": (scales_q8_0, load_q8_0),
    }[kept_as]


def make_row_loads(kept_as: str, columns: int) -> tuple[Any, Any]:
    """`scale(row, group)` and `load(row, d, scale)`: numbers d to d + 15 of a row of `columns`, f32x16."""

    @inline
    def scale_q8_0(row, group):
        return splat_f32x16(load_half(row + columns + 2 * group))

    @inline
    def load_q8_0(row, d, scale):
        return to_float(widen_to_i32(load_i8x16(row + d))) * scale

    @inline
    def load_f16(row, d, scale):
        return half_to_float(load_i16x16(row + 2 * d))

    @inline
    def load_f32(row, d, scale):
        return load_f32x16(row + 4 * d)

    return {"F16": (_no_scale, load_f16), "F32": (_no_scale, load_f32), "Q8_0": (scale_q8_0, load_q8_0)}[
        kept_as
    ]


def make_load_8(kept_as: str, columns: int) -> Any:
    """`load(row, d)`: numbers d to d + 7 of a row of `columns`, f32x8."""

    @inline
    def load_q8_0(row, d):
        scale = splat_f32x8(load_half(row + columns + 2 * (d // 32)))
        return to_float(widen_to_i32(load_i8x8(row + d))) * scale

    @inline
    def load_f16(row, d):
        return half_to_float(load_i16x8(row + 2 * d))

    @inline
    def load_f32(row, d):
        return load_f32x8(row + 4 * d)

    return {"F16": load_f16, "F32": load_f32, "Q8_0": load_q8_0}[kept_as]


def make_store_key(kept_as: str) -> Any:
    """`store(row, keys, place, key_dim)`: float32 (key_dim,) becomes a turned key."""
    return {
        "F16": _store_key_f16, "F32": _store_key_f32, "Q8_0": _store_key_q8_0, "Q4_0": store_key_q4_0
    }[kept_as]  # fmt: skip


def make_store_row(kept_as: str) -> Any:
    """`store(row, rows, place, columns)`: float32 (columns,) becomes a row."""
    return {
        "F16": _store_row_f16, "F32": _store_row_f32, "Q8_0": _store_row_q8_0, "Q4_0": store_row_q4_0
    }[kept_as]  # fmt: skip


@inline
def keep_value_finite(value, value_dim, key, key_dim):
    """Where a value is not finite it becomes 0, and the last number of its key NaN.

    value, key: float32 (value_dim,) and (key_dim,), before they are stored.
    """
    differences = zero_f32x16()
    for d in range(0, value_dim, 16):
        x = load_f32x16(value + 4 * d)
        differences = differences + (x - x)
    spoilt = sum_lanes(differences)
    if spoilt != 0:
        for d in range(0, value_dim, 16):
            store(value + 4 * d, zero_f32x16())
        store_f32(key + 4 * (key_dim - 1), spoilt)


@inline
def _store_key_f16(row, keys, place, key_dim):
    at = keys + place // 16 * key_dim * 32 + 2 * (place % 16)
    for d in range(0, key_dim, 16):
        store_lanes(at + 32 * d, float_to_half(nan_unless_finite(load_f32x16(row + 4 * d))), 32)


@inline
def _store_row_f16(row, rows, place, columns):
    at = rows + 2 * columns * place
    for d in range(0, columns, 16):
        store(at + 2 * d, float_to_half(nan_unless_finite(load_f32x16(row + 4 * d))))


@inline
def _store_key_f32(row, keys, place, key_dim):
    at = keys + place // 16 * key_dim * 64 + 4 * (place % 16)
    for d in range(0, key_dim, 16):
        store_lanes(at + 64 * d, nan_unless_finite(load_f32x16(row + 4 * d)), 64)


@inline
def _store_row_f32(row, rows, place, columns):
    at = rows + 4 * columns * place
    for d in range(0, columns, 16):
        store(at + 4 * d, nan_unless_finite(load_f32x16(row + 4 * d)))


@inline
def _scale_of_group(row, d, columns):
    """The largest magnitude of up to 32 values, over 127; NaN where one is not finite."""
    first = load_f32x16(row + 4 * d)
    second = first
    if d + 16 < columns:
        second = load_f32x16(row + 4 * d + 64)
    largest = largest_magnitude(first, second)
    return largest / 127 + (largest - largest)


@inline
def _quantized(row, d, scale):
    inverse = splat_f32x16(1 / scale if scale > 0 else scale)
    return narrow_to_i8(round_to_int(load_f32x16(row + 4 * d) * inverse))


@inline
def _store_key_q8_0(row, keys, place, key_dim):
    block = keys + place // 16 * (16 * key_dim + 32 * ((key_dim + 31) // 32))
    lane = place % 16
    for d in range(0, key_dim, 32):
        scale = _scale_of_group(row, d, key_dim)
        store_i16(block + 16 * key_dim + d + 2 * lane, first_word(float_to_half(splat_f32x16(scale))))
        for part in range(d, min(d + 32, key_dim), 16):
            store_lanes(block + 16 * part + lane, _quantized(row, part, scale), 16)


@inline
def _store_row_q8_0(row, rows, place, columns):
    at = rows + place * (columns + 2 * ((columns + 31) // 32))
    for d in range(0, columns, 32):
        scale = _scale_of_group(row, d, columns)
        store_i16(at + columns + d // 16, first_word(float_to_half(splat_f32x16(scale))))
        for part in range(d, min(d + 32, columns), 16):
            store(at + part, _quantized(row, part, scale))
