"""IQ2_XXS: 256 weights in 66 bytes, `scale * (a + 1/2) / 4 * signed entry`, a of four bits for every 32.

0        2
| scale  | 8 times: 4 numbers of entries of 8 weights (bytes), |
| f16    | 28 bits of signs with a above them (32 bits)        |
"""

from __future__ import annotations

from gguf.quants import IQ2_XXS

from ...simd.addresses import inline, load_half, load_i64
from ...simd.conversions import bytes_to_words, to_float
from ...simd.vectors import I8, bitcast_i8x32, load_i32x16, make_shuffle, splat_f32x8, splat_i32x8
from .avx2_code_books import TurnedEntries, make_with_signs, signs_of_28_bits
from .avx2_turned import Avx2Turned
from .code_books import OFFSET as OFFSET
from .code_books import CodeBook, complete_signs, make_weights, spread_sevens, with_signs
from .few_values import FewValues, make_half_factor, make_odd, with_negatives

FLOAT = False
GROUP = 32
CENTER = OFFSET
LARGEST = 63
HAS_MINIMUM = False
BYTES = 66

book = CodeBook(IQ2_XXS)
magnitudes = make_weights(book)
even_lanes = make_shuffle([2 * i for i in range(8)])
odd_lanes = make_shuffle([2 * i + 1 for i in range(8)])


@inline
def _signs(p):
    signs = ((load_i64(p) >> 32) & 0xFFFFFFF) | (load_i64(p + 8) & 0x0FFFFFFF00000000)
    return complete_signs(spread_sevens(signs))


@inline
def _steps(p):
    words = load_i32x16(p + 2)
    return odd_lanes(words, words) >> splat_i32x8(28)


@inline
def _scales(p):
    a = to_float(_steps(p))
    return (a + splat_f32x8(0.5)) * splat_f32x8(0.25 * load_half(p))


@inline
def unpack(p):
    scales = _scales(p)
    words = load_i32x16(p + 2)
    a, b, c, d = magnitudes(bytes_to_words(bitcast_i8x32(even_lanes(words, words))))
    weights = (
        with_signs(a, _signs(p + 2)),
        with_signs(b, _signs(p + 18)),
        with_signs(c, _signs(p + 34)),
        with_signs(d, _signs(p + 50)),
    )
    return weights, scales, scales


unpack_block = None
few_values = FewValues(with_negatives(IQ2_XXS.grid_map), make_odd(_steps, 8), make_half_factor(0, 0.125))

turned_entries = TurnedEntries(book.entries + OFFSET, range(0, 64, 8), I8).make_weights()
with_turned_signs = make_with_signs(OFFSET)


@inline
def _turned(p):
    words = load_i32x16(p + 2)
    signs = signs_of_28_bits(odd_lanes(words, words))
    return with_turned_signs(turned_entries(p + 2), signs)


@inline
def _turned_scales(p):
    scales = _scales(p)
    return scales, scales


avx2_turned = Avx2Turned(_turned, _turned_scales)
