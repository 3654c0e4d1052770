"""IQ2_S: 256 weights in 82 bytes, `scale * (a + 1/2) / 4 * signed entry`, a of four bits for every 16.

0        2                   34            66                   74             82
| scale  | 32 numbers of     | 256 signs   | 2 high bits of       | 16 times a   |
| f16    | entries, low byte | 32 bytes    | the numbers, 8 bytes | low, high    |
"""

from __future__ import annotations

from gguf.quants import IQ2_S

from ...simd.addresses import inline, load_half, load_i64
from ...simd.conversions import bytes_to_words
from ...simd.vectors import I16, i16x32, load_i8x8, load_i8x32, make_constant, make_shuffle, splat_i16x32
from .avx2_code_books import (
    PLACES_OF_4,
    TurnedEntries,
    make_with_signs,
    odd_steps,
    to_memory,
    two_bits_of_each,
    words_of_bytes,
)
from .avx2_turned import Avx2Turned
from .code_books import OFFSET as OFFSET
from .code_books import CodeBook, make_weights, with_signs
from .few_values import FewValues, make_half_factor, make_odd, with_negatives
from .iq2_xs import nibbles_in_turn, scales_from_nibbles

FLOAT = False
GROUP = 16
CENTER = OFFSET
LARGEST = 63
HAS_MINIMUM = False
BYTES = 82

book = CodeBook(IQ2_S)
magnitudes = make_weights(book)
each_four_times = make_shuffle([lane // 4 for lane in range(32)])
places = make_constant(i16x32, [0, 2, 4, 6] * 8)


@inline
def _steps(p):
    return nibbles_in_turn(load_i64(p + 74))


@inline
def unpack(p):
    scales = scales_from_nibbles(load_i64(p + 74), 0.25 * load_half(p))
    high = bytes_to_words(load_i8x8(p + 66))
    high = (each_four_times(high, high) >> places()) & splat_i16x32(3)
    a, b, c, d = magnitudes(bytes_to_words(load_i8x32(p + 2)) | (high << splat_i16x32(8)))
    weights = (
        with_signs(a, load_i64(p + 34)),
        with_signs(b, load_i64(p + 42)),
        with_signs(c, load_i64(p + 50)),
        with_signs(d, load_i64(p + 58)),
    )
    return weights, scales, scales


unpack_block = None
few_values = FewValues(with_negatives(IQ2_S.grid_map), make_odd(_steps, 16), make_half_factor(0, 0.125))

turned_entries = TurnedEntries(book.entries + OFFSET, PLACES_OF_4, I16).make_weights()
with_turned_signs = make_with_signs(OFFSET)


@inline
def _turned(p):
    numbers = words_of_bytes(load_i8x32(p + 2), two_bits_of_each(load_i8x8(p + 66)))
    return with_turned_signs(turned_entries(to_memory(numbers)), load_i8x32(p + 34))


@inline
def _words(p):
    steps, factor = odd_steps(p + 74), 0.125 * load_half(p)
    return steps, steps, factor, factor


avx2_turned = Avx2Turned(_turned, words=_words)
