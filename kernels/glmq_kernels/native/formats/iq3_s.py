"""IQ3_S: 256 weights in 110 bytes, `scale * (2 a + 1) * signed entry`, a of four bits for every 32.

0        2                    66                    74            106           110
| scale  | 64 numbers of      | their ninth bits    | 256 signs   | 8 times a   |
| f16    | entries, low byte  | 8 bytes             | 32 bytes    | low, high   |
"""

from __future__ import annotations

from gguf.quants import IQ3_S

from ..conversions import to_float
from ..lookup import join_words
from ..memory import inline, load_half, load_i64, load_u8, load_u16, load_u32
from ..simd import splat_f32x8, splat_i32x8
from .code_books import OFFSET as OFFSET
from .code_books import code_book, make_two_entries_of_4, with_signs
from .iq4_xs import nibble_places

FLOAT = False
GROUP = 32
CENTER = OFFSET
LARGEST = 63
HAS_MINIMUM = False
BYTES = 110

entries = make_two_entries_of_4(code_book(IQ3_S))


@inline
def _pair(p, ninth):
    """Two entries; bits 8 and 9 of `ninth` go on top of their numbers."""
    return entries(load_u8(p) | (ninth & 0x100), load_u8(p + 1) | ((ninth >> 1) & 0x100))


@inline
def _weights(p, ninth_bits, signs):
    ninth = load_u16(ninth_bits) << 8
    magnitudes = join_words(
        _pair(p, ninth),
        _pair(p + 2, ninth >> 2),
        _pair(p + 4, ninth >> 4),
        _pair(p + 6, ninth >> 6),
        _pair(p + 8, ninth >> 8),
        _pair(p + 10, ninth >> 10),
        _pair(p + 12, ninth >> 12),
        _pair(p + 14, ninth >> 14),
    )
    return with_signs(magnitudes, load_i64(signs))


@inline
def unpack(p):
    a = to_float((splat_i32x8(load_u32(p + 106)) >> nibble_places()) & splat_i32x8(15))
    scales = (a + splat_f32x8(0.5)) * splat_f32x8(2 * load_half(p))
    weights = (
        _weights(p + 2, p + 66, p + 74),
        _weights(p + 18, p + 68, p + 82),
        _weights(p + 34, p + 70, p + 90),
        _weights(p + 50, p + 72, p + 98),
    )
    return weights, scales, scales


unpack_block = None
