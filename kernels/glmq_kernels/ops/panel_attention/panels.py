"""Keys, values, queries and weights as int16, for the products of `pair_products.py`.

Every product of attention adds up in int32, so factors are scaled to what cannot overflow:

    queries, keys   each by its own length: |q|, |k| become `MOST_LENGTH`, so a product is at most its square
    weights         exp(score - the chunk's largest), at most 1, times 2**`WEIGHT_BITS`
    values          each column by its largest magnitude in the chunk, which becomes `VALUE_MOST`
"""

from __future__ import annotations

from typing import Any

from ...simd.addresses import inline, store_f32
from ...simd.conversions import pair_words, round_to_int
from ...simd.vectors import (
    divide,
    fma,
    maximum,
    splat_f32x16,
    square_root,
    store,
    zero_f32x16,
    zero_i32x16,
)
from ..attention.query_rows import LEAST_SQUARE, MOST_LENGTH, length_of, query_to_words
from ..attention.rows import make_key_loads, make_row_loads
from .sizes import CHUNK, QUERY_SCALE_AT, VALUE_MOST

LOG2_E = 1.4426950408889634
"""Scores are in powers of two: softmax takes 2**(LOG2_E x) for e**x."""


@inline
def take_query(source, columns, target, row_state):
    """A query, float32 (columns,), to int16, and its scale to its state."""
    scale = query_to_words(source, columns, target, length_of(source, columns), MOST_LENGTH)
    store_f32(row_state + QUERY_SCALE_AT, scale * LOG2_E)


def make_key_panel(key_dim: int, block_bytes: int, kept_as: str) -> Any:
    """`to_panel(keys, count, panel, scales)`: turned keys of a page to [CHUNK / 16][key_dim / 2][16][2]."""
    scales_of, load = make_key_loads(kept_as, key_dim)

    @inline
    def to_panel(keys, count, panel, scales):
        for b in range(0, count, 16):
            block = keys + b // 16 * block_bytes
            squares = zero_f32x16()
            for d in range(0, key_dim, 32):
                group_scales = scales_of(block, d // 32)
                for i in range(d, min(d + 32, key_dim)):
                    x = load(block, i, group_scales)
                    squares = fma(x, x, squares)
            length = square_root(squares + splat_f32x16(LEAST_SQUARE))
            store(scales + 4 * b, length * splat_f32x16(1 / MOST_LENGTH))
            inverse = divide(splat_f32x16(MOST_LENGTH), length)
            for d in range(0, key_dim, 32):
                group_scales = scales_of(block, d // 32)
                for i in range(d, min(d + 32, key_dim), 2):
                    first = round_to_int(load(block, i, group_scales) * inverse)
                    second = round_to_int(load(block, i + 1, group_scales) * inverse)
                    store(panel + 32 * i + 2 * key_dim * b, pair_words(first, second))

    return to_panel


def make_value_panel(value_dim: int, value_bytes: int, kept_as: str) -> Any:
    """`to_panel(values, count, panel, scales)`: rows of a page to [value_dim / 16][CHUNK / 2][16][2].

    Positions past `count` become 0.
    """
    scale_of, load = make_row_loads(kept_as, value_dim)

    @inline
    def load_at(values, j, d):
        row = values + j * value_bytes
        return load(row, d, scale_of(row, d // 32))

    @inline
    def to_panel(values, count, panel, scales):
        for d in range(0, value_dim, 16):
            largest = zero_f32x16()
            for j in range(count):
                x = load_at(values, j, d)
                largest = maximum(largest, maximum(x, zero_f32x16() - x))
            inverse = divide(splat_f32x16(VALUE_MOST), largest + splat_f32x16(LEAST_SQUARE))
            store(scales + 4 * d, largest * splat_f32x16(1 / VALUE_MOST))
            for j in range(0, CHUNK, 2):
                first, second = zero_i32x16(), zero_i32x16()
                if j < count:
                    first = round_to_int(load_at(values, j, d) * inverse)
                if j + 1 < count:
                    second = round_to_int(load_at(values, j + 1, d) * inverse)
                store(panel + 32 * j + 2 * CHUNK * d, pair_words(first, second))

    return to_panel
