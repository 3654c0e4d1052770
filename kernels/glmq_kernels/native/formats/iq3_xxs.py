"""IQ3_XXS: 256 weights in 98 bytes, `scale * (a + 1/2) / 2 * signed entry`, a of four bits for every 32.

0        2                            66
| scale  | 64 numbers of entries of   | 8 words of 32 bits: 28 bits |
| f16    | 4 weights (bytes)          | of signs with a above them  |
"""

from __future__ import annotations

from gguf.quants import IQ3_XXS

from ..conversions import to_float
from ..lookup import join_words
from ..memory import inline, load_half, load_i64, load_u8
from ..simd import load_i32x8, splat_f32x8, splat_i32x8
from .code_books import OFFSET as OFFSET
from .code_books import code_book, complete_signs, make_two_entries_of_4, spread_sevens, with_signs

FLOAT = False
GROUP = 32
CENTER = OFFSET
LARGEST = 63
HAS_MINIMUM = False
BYTES = 98

entries = make_two_entries_of_4(code_book(IQ3_XXS))


@inline
def _weights(p, signs):
    magnitudes = join_words(
        entries(load_u8(p), load_u8(p + 1)),
        entries(load_u8(p + 2), load_u8(p + 3)),
        entries(load_u8(p + 4), load_u8(p + 5)),
        entries(load_u8(p + 6), load_u8(p + 7)),
        entries(load_u8(p + 8), load_u8(p + 9)),
        entries(load_u8(p + 10), load_u8(p + 11)),
        entries(load_u8(p + 12), load_u8(p + 13)),
        entries(load_u8(p + 14), load_u8(p + 15)),
    )
    return with_signs(magnitudes, complete_signs(spread_sevens(load_i64(signs))))


@inline
def unpack(p):
    a = to_float(load_i32x8(p + 66) >> splat_i32x8(28))
    scales = (a + splat_f32x8(0.5)) * splat_f32x8(0.5 * load_half(p))
    weights = (
        _weights(p + 2, p + 66),
        _weights(p + 18, p + 74),
        _weights(p + 34, p + 82),
        _weights(p + 50, p + 90),
    )
    return weights, scales, scales


unpack_block = None
