"""IQ1_M: 256 weights in 56 bytes, `scale * (2 a + 1) * (entry +- 1/8)`, a of three bits for every 16.

    0                   32                                   48
    | 32 numbers of     | for each 3 high bits and the sign  | 4 words of 16 bits: 4 times a, |
    | entries, low byte | of its eighth, 16 bytes            | above them 4 bits of the scale |

Entries are those of IQ1_S, and u is as there. The scale is a float16 of four pieces, lowest first.
"""

from __future__ import annotations

from ...simd.addresses import half_of_bits, inline, load_i64
from ...simd.conversions import bytes_to_words, to_float
from ...simd.vectors import (
    i16x32,
    i32x16,
    join_i32x8,
    load_i8x16,
    load_i8x32,
    make_constant,
    make_shuffle,
    splat_f32x16,
    splat_i16x32,
    splat_i32x8,
    splat_i32x16,
)
from .few_values import FewValues, make_odd
from .iq1_s import CENTER as CENTER
from .iq1_s import LARGEST as LARGEST
from .iq1_s import OFFSET as OFFSET
from .iq1_s import VALUES, weights_of

FLOAT = False
GROUP = 16
HAS_MINIMUM = False
BYTES = 56

places = make_constant(i32x16, [0, 3, 6, 9, 16, 19, 22, 25] * 2)
nibble_places = make_constant(i16x32, [0, 4] * 16)
each_twice = make_shuffle([lane // 2 for lane in range(32)])


@inline
def _scale(p):
    words = load_i64(p + 48)
    pieces = ((words >> 12) & 0xF) | ((words >> 24) & 0xF0) | ((words >> 36) & 0xF00)
    return half_of_bits(pieces | ((words >> 48) & 0xF000))


@inline
def _steps(p):
    words = load_i64(p + 48)
    both = join_i32x8(splat_i32x8(words & 0xFFFFFFFF), splat_i32x8((words >> 32) & 0xFFFFFFFF))
    return (both >> places()) & splat_i32x16(7)


@inline
def _scales(p):
    return (to_float(_steps(p)) + splat_f32x16(0.5)) * splat_f32x16(0.25 * _scale(p))


@inline
def _factor(p):
    return 0.125 * _scale(p)


@inline
def unpack(p):
    scales = _scales(p)
    high = bytes_to_words(load_i8x16(p + 32))
    high = each_twice(high, high) >> nibble_places()
    low = bytes_to_words(load_i8x32(p))
    numbers = low | ((high & splat_i16x32(7)) << splat_i16x32(8))
    return weights_of(numbers, (high >> splat_i16x32(3)) & splat_i16x32(1)), scales, scales


unpack_block = None
few_values = FewValues(VALUES, make_odd(_steps, 16), _factor)
