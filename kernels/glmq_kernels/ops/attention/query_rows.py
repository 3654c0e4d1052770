"""The query rows of a kv head: where they lie among those of all heads, and as int16."""

from __future__ import annotations

from typing import Any

from ...simd.addresses import argument, inline
from ...simd.conversions import narrow_to_i16, round_to_int
from ...simd.mathematics import nan_unless_finite
from ...simd.vectors import (
    divide,
    first_lane,
    fma,
    load_f32x16,
    max_lane,
    maximum,
    splat_f32x16,
    square_root,
    store,
    sum_lanes,
    zero_f32x16,
)

MOST_LENGTH = 32700.0
"""Of a query or a key in int16; rounding makes it a little longer."""
assert MOST_LENGTH**2 * 1.001 < 2**31
LEAST_SQUARE = 1e-30
"""Added to squares, so that nothing is divided by 0."""
LEAST = 1e-30
"""Of magnitudes, for the same reason."""


@inline
def length_of(source, columns):
    """Of a query, float32 (columns,), in all lanes; not finite where it is not."""
    squares = zero_f32x16()
    for d in range(0, columns, 16):
        x = load_f32x16(source + 4 * d)
        squares = fma(x, x, squares)
    return square_root(splat_f32x16(sum_lanes(squares) + LEAST_SQUARE))


@inline
def magnitude_of(source, columns):
    """The largest of a query's magnitudes, in all lanes; NaN where one is not finite."""
    largest, differences = splat_f32x16(LEAST), zero_f32x16()
    for d in range(0, columns, 16):
        x = load_f32x16(source + 4 * d)
        largest = maximum(maximum(x, zero_f32x16() - x), largest)
        differences = differences + (x - x)
    return splat_f32x16(max_lane(largest) + sum_lanes(differences))


@inline
def query_to_words(source, columns, target, size, most):
    """A query, float32 (columns,), to int16, its size becoming `most`.

    size: its length or magnitude. Gives the scale, NaN where something is not finite.
    """
    inverse = divide(splat_f32x16(most), size)
    for d in range(0, columns, 16):
        x = load_f32x16(source + 4 * d)
        store(target + 2 * d, narrow_to_i16(round_to_int(x * inverse)))
    return first_lane(divide(nan_unless_finite(size), splat_f32x16(most)))


def make_row_number(record: Any) -> Any:
    """`row_number(args, kv_head, row)`: of a kv head's row, [token][its query heads], that among all heads'.

    record: the argument record of the operation, with N_HEADS and N_KV_HEADS.
    """

    @inline
    def row_number(args, kv_head, row):
        n_heads = argument(args, record.N_HEADS)
        heads = n_heads // argument(args, record.N_KV_HEADS)
        return row // heads * n_heads + kv_head * heads + row % heads

    return row_number
