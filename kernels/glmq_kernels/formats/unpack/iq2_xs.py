"""IQ2_XS: 256 weights in 74 bytes, `scale * (a + 1/2) / 4 * signed entry`, a of four bits for every 16.

0        2                                          66             74
| scale  | 32 words of 16 bits: number of an entry  | 16 times a   |
| f16    | of 8 weights, 7 bits of signs above it   | low, high    |
"""

from __future__ import annotations

from gguf.quants import IQ2_XS

from ...simd.addresses import inline, load_half, load_i64
from ...simd.conversions import to_float
from ...simd.vectors import (
    I16,
    load_i16x16,
    load_i16x32,
    make_shuffle,
    splat_f32x16,
    splat_i16x16,
    splat_i16x32,
)
from .avx2_code_books import (
    TurnedEntries,
    make_with_signs,
    odd_steps,
    signs_of_upper_sevens,
    to_memory,
)
from .avx2_turned import Avx2Turned
from .code_books import OFFSET as OFFSET
from .code_books import CodeBook, complete_signs, load_sevens, make_weights, with_signs
from .few_values import FewValues, make_half_factor, make_odd, with_negatives
from .q4_k import widen_bytes

FLOAT = False
GROUP = 16
CENTER = OFFSET
LARGEST = 63
HAS_MINIMUM = False
BYTES = 74

book = CodeBook(IQ2_XS)
magnitudes = make_weights(book)
in_turn = make_shuffle([lane // 2 + 8 * (lane % 2) for lane in range(16)])


@inline
def nibbles_in_turn(packed):
    """The 16 nibbles of an int64 as int32."""
    low = packed & 0x0F0F0F0F0F0F0F0F
    a = widen_bytes(low, (packed >> 4) & 0x0F0F0F0F0F0F0F0F)
    return in_turn(a, a)


@inline
def scales_from_nibbles(packed, factor):
    """(a + 1/2) times a factor, of 16 nibbles."""
    return (to_float(nibbles_in_turn(packed)) + splat_f32x16(0.5)) * splat_f32x16(factor)


@inline
def _steps(p):
    return nibbles_in_turn(load_i64(p + 66))


@inline
def unpack(p):
    scales = scales_from_nibbles(load_i64(p + 66), 0.25 * load_half(p))
    a, b, c, d = magnitudes(load_i16x32(p + 2) & splat_i16x32(511))
    weights = (
        with_signs(a, complete_signs(load_sevens(p + 2))),
        with_signs(b, complete_signs(load_sevens(p + 18))),
        with_signs(c, complete_signs(load_sevens(p + 34))),
        with_signs(d, complete_signs(load_sevens(p + 50))),
    )
    return weights, scales, scales


unpack_block = None
few_values = FewValues(with_negatives(IQ2_XS.grid_map), make_odd(_steps, 16), make_half_factor(0, 0.125))

turned_entries = TurnedEntries(book.entries + OFFSET, range(0, 64, 8), I16).make_weights()
with_turned_signs = make_with_signs(OFFSET)


@inline
def _turned(p):
    numbers = load_i16x16(p + 2) & splat_i16x16(511), load_i16x16(p + 34) & splat_i16x16(511)
    return with_turned_signs(turned_entries(to_memory(numbers)), signs_of_upper_sevens(p + 2))


@inline
def _words(p):
    steps, factor = odd_steps(p + 66), 0.125 * load_half(p)
    return steps, steps, factor, factor


avx2_turned = Avx2Turned(_turned, words=_words)
