"""The two products of attention over a cache of eight bits, by instructions that multiply pairs of int16.

The bytes of keys and values are only widened: their scales meet sums of 32 products, not elements. So a
cache of half the size is not the slower one where float conversions cost as much as products (AVX2).

    scores   of a group of 32 dimensions: key's scale x int32 sum of query x key; a query is int16
    out      for a group of 32 columns: row's factor x int32 sum of folded weight x value, where a folded
             weight is a weight times the value's scale, as int16

What is made of a chunk of positions, beside the scores:

    scales     [groups][CHUNK]         float32: of values; 0 past the last
    largest    [groups]                float32: of the scales' magnitudes
    factors    [rows][groups]          float32
    count      int64: positions
    folded     [rows][groups][CHUNK]   int16
"""

from __future__ import annotations

from typing import Any

from ...simd.addresses import (
    inline,
    load_f32,
    load_i16,
    load_i64,
    some_number,
    store_f32,
    store_i16,
    store_i64,
)
from ...simd.conversions import ROUNDING, half_to_float, narrow_to_i16
from ...simd.vectors import (
    bitcast_i32x16,
    divide,
    first_lane,
    fma,
    keep_lanes,
    load_f32x16,
    load_i16x16,
    max_lane,
    maximum,
    splat_f32x16,
    store,
    zero_f32x16,
)
from .chunk_products import ask_for
from .pair_sums import make_add_by_row, make_pair_sums, make_save_by_column
from .query_rows import LEAST, magnitude_of, query_to_words
from .scratch import QUERY_SCALE_AT, ROW_STATE_BYTES, SEEN_AT, TAKE_AT, chunk_parts
from .work_list import CHUNK

MOST = 32767.0
"""The largest magnitude in queries and folded weights: sums of products with bytes stay below 2**29."""


@inline
def _largest_scale(scales, n):
    """The largest magnitude of the first so many of a group's scales."""
    largest = splat_f32x16(LEAST)
    for j in range(0, n, 16):
        x = keep_lanes(load_f32x16(scales + 4 * j), n - j, zero_f32x16())
        largest = maximum(maximum(x, zero_f32x16() - x), largest)
    return max_lane(largest)


def make_take_query(key_dim: int) -> Any:
    """`take_query(source, queries, i, row_state)`: float32 (key_dim,) becomes row i, and its scale."""

    @inline
    def take_query(source, queries, i, row_state):
        # Not by its length, as where keys have 16 bits: sums of 32 products with bytes are far from overflow.
        size = magnitude_of(source, key_dim)
        scale = query_to_words(source, key_dim, queries + 2 * key_dim * i, size, MOST)
        store_f32(row_state + QUERY_SCALE_AT, scale)

    return take_query


def make_byte_scores(rows: int, key_dim: int) -> Any:
    """`score_32(queries, block, next_block, scores)`: of 32 turned keys, without queries' scales."""
    zero, add = make_pair_sums(rows, 2 * key_dim)
    save_first = make_save_by_column(rows, 4 * CHUNK, accumulate=False)
    save_more = make_save_by_column(rows, 4 * CHUNK, accumulate=True)

    @inline
    def sums_of_group(queries, block, first):
        sums = zero()
        for d in range(first, min(first + 32, key_dim), 2):
            sums = add(sums, block + 16 * d, block + 16 * d + 16, queries + 2 * d)
        return sums

    @inline
    def score_16(queries, block, scores):
        scales = block + 16 * key_dim
        save_first(sums_of_group(queries, block, 0), half_to_float(load_i16x16(scales)), scores)
        for d in range(32, key_dim, 32):
            save_more(sums_of_group(queries, block, d), half_to_float(load_i16x16(scales + d)), scores)

    @inline
    def score_32(queries, block, next_block, scores):
        score_16(queries, block, scores)
        score_16(queries, next_block, scores + 64)

    return score_32


def make_begin_values(rows: int, value_dim: int) -> Any:
    """`begin_values(values, row_bytes, count, made)`: the scales of a chunk's values."""
    groups = -(-value_dim // 32)
    _, largest_at, _, folded_at, count_at = chunk_parts(rows, value_dim)

    @inline
    def begin_values(values, row_bytes, count, made):
        store_i64(made + count_at, count)
        halves = made + folded_at  # which is filled later
        for j in range(count, CHUNK):
            store_i16(halves + 2 * j, 0)
        for g in range(groups):
            scales, at = made + 4 * CHUNK * g, values + value_dim + 2 * g
            for j in range(count):
                store_i16(halves + 2 * j, load_i16(at + j * row_bytes))
            for j in range(0, CHUNK, 16):
                store(scales + 4 * j, half_to_float(load_i16x16(halves + 2 * j)))
            store_f32(made + largest_at + 4 * g, _largest_scale(scales, count))

    return begin_values


def make_add_bytes(rows: int, value_dim: int) -> Any:
    """`add_values(values, row_bytes, weights, count, out, states, position, made, ahead, step)`.

    Adds weights x values to out, and asks for `step` bytes of what lies ahead at every 16 columns. weights:
    float32 (rows, CHUNK), relative to each row's largest score of the chunk. states: of the rows. position:
    the chunk's first. made: as `begin_values` has left it.
    """
    groups = -(-value_dim // 32)
    _, largest_at, factors_at, folded_at, count_at = chunk_parts(rows, value_dim)
    zero, add = make_pair_sums(rows, 2 * CHUNK * groups)
    add_to_out = make_add_by_row(rows, 4 * groups, 4 * value_dim)

    @inline
    def fold(weights, count, n_seen, take, factors, made, folded):
        """A row's weights times the scales of each group."""
        is_whole = n_seen >= load_i64(made + count_at)
        for g in range(groups):
            scales, largest = made + 4 * CHUNK * g, load_f32(made + largest_at + 4 * g)
            if not is_whole:  # a row's result must not hang on positions that others see
                largest = _largest_scale(scales, n_seen)
            inverse = divide(splat_f32x16(MOST), splat_f32x16(largest))
            for b in range(0, count, 16):
                weight = load_f32x16(weights + 4 * b) * inverse
                shifted = fma(weight, load_f32x16(scales + 4 * b), splat_f32x16(ROUNDING))
                store(folded + 2 * (CHUNK * g + b), narrow_to_i16(bitcast_i32x16(shifted)))
            store_f32(factors + 4 * g, first_lane(splat_f32x16(take * largest) * splat_f32x16(1 / MOST)))

    @inline
    def add_values(values, row_bytes, weights, count, out, states, position, made, ahead, step):
        for i in range(some_number(rows)):  # each is long: LLVM would unroll them
            row_state = states + ROW_STATE_BYTES * i
            fold(
                weights + 4 * CHUNK * i, count, load_i64(row_state + SEEN_AT) - position,
                load_f32(row_state + TAKE_AT), made + factors_at + 4 * groups * i, made,
                made + folded_at + 2 * CHUNK * groups * i,
            )  # fmt: skip
        for d in range(0, value_dim, 16):
            g, sums = d // 32, zero()
            ask_for(ahead + d // 16 * step, step)
            for j in range(0, count, 2):
                row = values + j * row_bytes + d
                sums = add(sums, row, row + row_bytes, made + folded_at + 2 * (CHUNK * g + j))
            add_to_out(sums, made + factors_at + 4 * g, out + 4 * d)

    return add_values
