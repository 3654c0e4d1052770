"""IQ1_S: 256 weights in 50 bytes, `scale * (2 a + 1) * (entry +- 1/8)`, a of three bits for every 32.

    0        2                   34
    | scale  | 32 numbers of     | 8 words of 16 bits: 4 times 3 high bits of |
    | f16    | entries, low byte | numbers, a, and the sign of the eighth     |

An entry is eight times -1, 0 or 1. u is nine plus eight times a weight, the scale an eighth.
"""

from __future__ import annotations

from gguf.quants import IQ1_S

from ..conversions import to_float, zero_extend
from ..lookup import join_words
from ..memory import inline, load_half, load_u8, load_u16
from ..simd import load_i16x8, splat_f32x8, splat_i32x8
from .code_books import code_book, make_entry_of_8

FLOAT = False
GROUP = 32
OFFSET = CENTER = LARGEST = 9
HAS_MINIMUM = False
BYTES = 50

entry = make_entry_of_8(code_book(IQ1_S, 8, OFFSET))
EVERY_BYTE = 0x0101010101010101


@inline
def eighths(bit):
    """1 added to each of eight bytes, or -1 where the bit is set (no byte of an entry is 0)."""
    return EVERY_BYTE - 2 * bit * EVERY_BYTE


@inline
def _weights(p, words):
    w, v = load_u16(words), load_u16(words + 2)
    shift_w, shift_v = eighths(w >> 15), eighths(v >> 15)
    return join_words(
        entry(load_u8(p) | ((w << 8) & 0x700)) + shift_w,
        entry(load_u8(p + 1) | ((w << 5) & 0x700)) + shift_w,
        entry(load_u8(p + 2) | ((w << 2) & 0x700)) + shift_w,
        entry(load_u8(p + 3) | ((w >> 1) & 0x700)) + shift_w,
        entry(load_u8(p + 4) | ((v << 8) & 0x700)) + shift_v,
        entry(load_u8(p + 5) | ((v << 5) & 0x700)) + shift_v,
        entry(load_u8(p + 6) | ((v << 2) & 0x700)) + shift_v,
        entry(load_u8(p + 7) | ((v >> 1) & 0x700)) + shift_v,
    )


@inline
def unpack(p):
    words = zero_extend(load_i16x8(p + 34))
    a = to_float((words >> splat_i32x8(12)) & splat_i32x8(7))
    scales = (a + splat_f32x8(0.5)) * splat_f32x8(0.25 * load_half(p))
    weights = (
        _weights(p + 2, p + 34),
        _weights(p + 10, p + 38),
        _weights(p + 18, p + 42),
        _weights(p + 26, p + 46),
    )
    return weights, scales, scales


unpack_block = None
