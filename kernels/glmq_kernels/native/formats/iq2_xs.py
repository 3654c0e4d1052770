"""IQ2_XS: 256 weights in 74 bytes, `scale * (a + 1/2) / 4 * signed entry`, a of four bits for every 16.

0        2                                          66             74
| scale  | 32 words of 16 bits: number of an entry  | 16 times a   |
| f16    | of 8 weights, 7 bits of signs above it   | low, high    |
"""

from __future__ import annotations

from gguf.quants import IQ2_XS

from ..conversions import to_float
from ..lookup import join_words
from ..memory import inline, load_half, load_i64, load_u16
from ..simd import make_shuffle, splat_f32x16
from .code_books import OFFSET as OFFSET
from .code_books import code_book, complete_signs, load_sevens, make_entry_of_8, with_signs
from .q4_k import widen_bytes

FLOAT = False
GROUP = 16
CENTER = OFFSET
LARGEST = 63
HAS_MINIMUM = False
BYTES = 74

entry = make_entry_of_8(code_book(IQ2_XS))
in_turn = make_shuffle([lane // 2 + 8 * (lane % 2) for lane in range(16)])


@inline
def scales_from_nibbles(packed, factor):
    """(a + 1/2) times a factor, of 16 nibbles."""
    low = packed & 0x0F0F0F0F0F0F0F0F
    a = to_float(widen_bytes(low, (packed >> 4) & 0x0F0F0F0F0F0F0F0F))
    return (in_turn(a, a) + splat_f32x16(0.5)) * splat_f32x16(factor)


@inline
def _weights(p):
    magnitudes = join_words(
        entry(load_u16(p) & 511),
        entry(load_u16(p + 2) & 511),
        entry(load_u16(p + 4) & 511),
        entry(load_u16(p + 6) & 511),
        entry(load_u16(p + 8) & 511),
        entry(load_u16(p + 10) & 511),
        entry(load_u16(p + 12) & 511),
        entry(load_u16(p + 14) & 511),
    )
    return with_signs(magnitudes, complete_signs(load_sevens(p)))


@inline
def unpack(p):
    scales = scales_from_nibbles(load_i64(p + 66), 0.25 * load_half(p))
    weights = _weights(p + 2), _weights(p + 18), _weights(p + 34), _weights(p + 50)
    return weights, scales, scales


unpack_block = None
