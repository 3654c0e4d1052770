"""IQ2_S: 256 weights in 82 bytes, `scale * (a + 1/2) / 4 * signed entry`, a of four bits for every 16.

0        2                   34            66                   74             82
| scale  | 32 numbers of     | 256 signs   | 2 high bits of       | 16 times a   |
| f16    | entries, low byte | 32 bytes    | the numbers, 8 bytes | low, high    |
"""

from __future__ import annotations

from gguf.quants import IQ2_S

from ..lookup import join_words
from ..memory import inline, load_half, load_i64, load_u8, load_u16
from .code_books import OFFSET as OFFSET
from .code_books import code_book, make_entry_of_8, with_signs
from .iq2_xs import scales_from_nibbles

FLOAT = False
GROUP = 16
CENTER = OFFSET
LARGEST = 63
HAS_MINIMUM = False
BYTES = 82

entry = make_entry_of_8(code_book(IQ2_S))


@inline
def _weights(p, high_bits, signs):
    high = load_u16(high_bits)
    magnitudes = join_words(
        entry(load_u8(p) | ((high << 8) & 0x300)),
        entry(load_u8(p + 1) | ((high << 6) & 0x300)),
        entry(load_u8(p + 2) | ((high << 4) & 0x300)),
        entry(load_u8(p + 3) | ((high << 2) & 0x300)),
        entry(load_u8(p + 4) | (high & 0x300)),
        entry(load_u8(p + 5) | ((high >> 2) & 0x300)),
        entry(load_u8(p + 6) | ((high >> 4) & 0x300)),
        entry(load_u8(p + 7) | ((high >> 6) & 0x300)),
    )
    return with_signs(magnitudes, load_i64(signs))


@inline
def unpack(p):
    scales = scales_from_nibbles(load_i64(p + 74), 0.25 * load_half(p))
    weights = (
        _weights(p + 2, p + 66, p + 34),
        _weights(p + 10, p + 68, p + 42),
        _weights(p + 18, p + 70, p + 50),
        _weights(p + 26, p + 72, p + 58),
    )
    return weights, scales, scales


unpack_block = None
