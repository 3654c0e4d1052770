"""IQ3_XXS: 256 weights in 98 bytes, `scale * (a + 1/2) / 2 * signed entry`, a of four bits for every 32.

0        2                            66
| scale  | 64 numbers of entries of   | 8 words of 32 bits: 28 bits |
| f16    | 4 weights (bytes)          | of signs with a above them  |
"""

from __future__ import annotations

from gguf.quants import IQ3_XXS

from ...simd.addresses import inline, load_half, load_i64
from ...simd.conversions import bytes_to_words, to_float
from ...simd.vectors import I8, load_i8x32, load_i32x8, splat_f32x8, splat_i32x8
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
BYTES = 98

book = CodeBook(IQ3_XXS)
magnitudes = make_weights(book)


@inline
def _signs(p):
    return complete_signs(spread_sevens(load_i64(p)))


@inline
def _steps(p):
    return load_i32x8(p + 66) >> splat_i32x8(28)


@inline
def _scales(p):
    a = to_float(_steps(p))
    return (a + splat_f32x8(0.5)) * splat_f32x8(0.5 * load_half(p))


@inline
def unpack(p):
    scales = _scales(p)
    a, b, c, d = magnitudes(bytes_to_words(load_i8x32(p + 2)), bytes_to_words(load_i8x32(p + 34)))
    weights = (
        with_signs(a, _signs(p + 66)),
        with_signs(b, _signs(p + 74)),
        with_signs(c, _signs(p + 82)),
        with_signs(d, _signs(p + 90)),
    )
    return weights, scales, scales


unpack_block = None
few_values = FewValues(with_negatives(IQ3_XXS.grid_map), make_odd(_steps, 8), make_half_factor(0, 0.25))

# On AVX2 weights are halves of these, so that products of two fit into 16 bits.
turned_entries = TurnedEntries(book.entries // 2 + 32, range(0, 64, 8), I8).make_weights()
with_turned_signs = make_with_signs(32)


@inline
def _turned(p):
    return with_turned_signs(turned_entries(p + 2), signs_of_28_bits(load_i32x8(p + 66)))


@inline
def _turned_scales(p):
    scales = _scales(p) * splat_f32x8(2)
    return scales, scales


avx2_turned = Avx2Turned(_turned, _turned_scales, offset=32.0, largest=63)
