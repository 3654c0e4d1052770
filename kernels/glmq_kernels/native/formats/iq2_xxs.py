"""IQ2_XXS: 256 weights in 66 bytes, `scale * (a + 1/2) / 4 * signed entry`, a of four bits for every 32.

0        2
| scale  | 8 times: 4 numbers of entries of 8 weights (bytes), |
| f16    | 28 bits of signs with a above them (32 bits)        |
"""

from __future__ import annotations

from gguf.quants import IQ2_XXS

from ..conversions import to_float
from ..lookup import join_words
from ..memory import inline, load_half, load_i64, load_u8
from ..simd import load_i32x16, make_shuffle, splat_f32x8, splat_i32x8
from .code_books import OFFSET as OFFSET
from .code_books import code_book, complete_signs, make_entry_of_8, spread_sevens, with_signs

FLOAT = False
GROUP = 32
CENTER = OFFSET
LARGEST = 63
HAS_MINIMUM = False
BYTES = 66

entry = make_entry_of_8(code_book(IQ2_XXS))
odd_lanes = make_shuffle([2 * i + 1 for i in range(8)])


@inline
def _weights(p):
    magnitudes = join_words(
        entry(load_u8(p)),
        entry(load_u8(p + 1)),
        entry(load_u8(p + 2)),
        entry(load_u8(p + 3)),
        entry(load_u8(p + 8)),
        entry(load_u8(p + 9)),
        entry(load_u8(p + 10)),
        entry(load_u8(p + 11)),
    )
    signs = ((load_i64(p) >> 32) & 0xFFFFFFF) | (load_i64(p + 8) & 0x0FFFFFFF00000000)
    return with_signs(magnitudes, complete_signs(spread_sevens(signs)))


@inline
def unpack(p):
    words = load_i32x16(p + 2)
    a = to_float(odd_lanes(words, words) >> splat_i32x8(28))
    scales = (a + splat_f32x8(0.5)) * splat_f32x8(0.25 * load_half(p))
    weights = _weights(p + 2), _weights(p + 18), _weights(p + 34), _weights(p + 50)
    return weights, scales, scales


unpack_block = None
