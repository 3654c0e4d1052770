"""The entries of a grid that fit weights best, for kernels.

Magnitudes of weights and the weights of their errors lie in memory, as float32. `table` functions take the
tables of `grid_tables.py` by address.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import inline, load_f32, load_i32, load_i64, load_u16, load_u32, store_i64
from ...simd.comparisons import greater, least_lane, select
from ...simd.conversions import narrow_to_i8, round_to_int, to_float, zero_extend
from ...simd.vectors import (
    i32x8,
    load_f32x8,
    load_i8x8,
    make_constant,
    maximum,
    minimum,
    splat_f32x8,
    splat_i32x8,
    store,
    zero_f32x8,
)
from ...simd.words import bytes_as_word, word_as_bytes
from .grid_scratch import MEMO_BEGIN
from .grid_types import CHUNK, FIRST_CHUNK

INFINITY = np.float32(np.inf)
lane_numbers = make_constant(i32x8, list(range(8)))


@inline
def key_of_8(codes):
    """The key of eight codes below 4, of int32 lanes."""
    word = bytes_as_word(narrow_to_i8(codes))
    word = (word | (word >> 6)) & 0x000F000F000F000F
    word = (word | (word >> 12)) & 0x000000FF000000FF
    return (word | (word >> 24)) & 0xFFFF


@inline
def keys_of_4(codes):
    """The keys of four codes below 8 and of the next four, from bit 0 and from bit 32 on."""
    word = bytes_as_word(narrow_to_i8(codes))
    word = (word | (word >> 5)) & 0x003F003F003F003F
    return (word | (word >> 10)) & 0x00000FFF00000FFF


@inline
def codes_at(magnitudes, inverse, top):
    """The codes, from 0 to `top`, of eight magnitudes at an address, whose values are 2 * code + 1."""
    t = (load_f32x8(magnitudes) * splat_f32x8(inverse) - splat_f32x8(1.0)) * splat_f32x8(0.5)
    return round_to_int(minimum(maximum(t, zero_f32x8()), splat_f32x8(top)))


@inline
def entry_of_8(entries, numbers):
    """The values (f32x8) of the entry whose number lies at an address."""
    return to_float(zero_extend(word_as_bytes(load_i64(entries + 8 * load_u16(numbers)))))


@inline
def entries_of_4(entries, numbers):
    """The values (f32x8) of the two entries whose numbers lie at an address."""
    low, high = load_u32(entries + 4 * load_u16(numbers)), load_u32(entries + 4 * load_u16(numbers + 2))
    return to_float(zero_extend(word_as_bytes(low | (high << 32))))


@inline
def entry_found(keys, key):
    """What the table of keys has for a key."""
    return np.int64(load_i32(keys + 4 * key))


def make_best_candidate(places: int) -> Any:
    """`best_candidate(chunks, found, scale, magnitudes, weights, memo)`: the number of an entry.

    It is the candidate with the least error: the sum, over so many places, of
    weight * (scale * value - magnitude)², the first of equal ones. found: what the table of keys has.

    With v² = Σ weight value² and vx = Σ weight value magnitude that is scale² v² - 2 scale vx + a constant.
    memo: where both are kept for the candidates of the last `found`, as the next scale often has the same.
    """
    chunk_bytes = CHUNK * (2 + places)

    @inline
    def fill(memo, first, count, magnitudes, weights):
        for c in range(count):
            chunk, squares, products = first + c * chunk_bytes, zero_f32x8(), zero_f32x8()
            for i in range(places):
                value = to_float(zero_extend(load_i8x8(chunk + CHUNK * (2 + i))))
                weighted = splat_f32x8(load_f32(weights + 4 * i)) * value
                squares = squares + weighted * value
                products = products + weighted * splat_f32x8(load_f32(magnitudes + 4 * i))
            store(memo + MEMO_BEGIN + 64 * c, squares)
            store(memo + MEMO_BEGIN + 64 * c + 32, products + products)

    @inline
    def best_candidate(chunks, found, scale, magnitudes, weights, memo):
        first, count = chunks + (-found // FIRST_CHUNK) * chunk_bytes, -found % FIRST_CHUNK
        if load_i64(memo) != found:
            store_i64(memo, found)
            fill(memo, first, count, magnitudes, weights)
        factor = splat_f32x8(scale)
        best, where = splat_f32x8(INFINITY), lane_numbers()
        for c in range(count):
            squares = load_f32x8(memo + MEMO_BEGIN + 64 * c)
            products = load_f32x8(memo + MEMO_BEGIN + 64 * c + 32)
            error = factor * (factor * squares - products)
            where = select(greater(best, error), splat_i32x8(CHUNK * c) + lane_numbers(), where)
            best = minimum(error, best)
        least = splat_f32x8(least_lane(best))
        at = np.int64(least_lane(select(greater(best, least), splat_i32x8(0x7FFFFFFF), where)))
        return load_u16(first + (at // CHUNK) * chunk_bytes + 2 * (at % CHUNK))

    return best_candidate
