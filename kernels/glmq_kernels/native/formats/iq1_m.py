"""IQ1_M: 256 weights in 56 bytes, `scale * (2 a + 1) * (entry +- 1/8)`, a of three bits for every 16.

    0                   32                                   48
    | 32 numbers of     | for each 3 high bits and the sign  | 4 words of 16 bits: 4 times a, |
    | entries, low byte | of its eighth, 16 bytes            | above them 4 bits of the scale |

Entries are those of IQ1_S, and u is as there. The scale is a float16 of four pieces, lowest first.
"""

from __future__ import annotations

from ..conversions import to_float
from ..lookup import join_words
from ..memory import half_of_bits, inline, load_i64, load_u8, load_u32
from ..simd import i32x16, join_i32x8, make_constant, splat_f32x16, splat_i32x8, splat_i32x16
from .iq1_s import CENTER as CENTER
from .iq1_s import LARGEST as LARGEST
from .iq1_s import OFFSET as OFFSET
from .iq1_s import eighths, entry

FLOAT = False
GROUP = 16
HAS_MINIMUM = False
BYTES = 56

places = make_constant(i32x16, [0, 3, 6, 9, 16, 19, 22, 25] * 2)


@inline
def _entry(p, high):
    """The entry whose number's low byte is at p; `high`: its high bits and the sign above them."""
    return entry(load_u8(p) | ((high & 7) << 8)) + eighths((high >> 3) & 1)


@inline
def _weights(p, high_bits):
    high = load_u32(high_bits)
    return join_words(
        _entry(p, high),
        _entry(p + 1, high >> 4),
        _entry(p + 2, high >> 8),
        _entry(p + 3, high >> 12),
        _entry(p + 4, high >> 16),
        _entry(p + 5, high >> 20),
        _entry(p + 6, high >> 24),
        _entry(p + 7, high >> 28),
    )


@inline
def unpack(p):
    words = load_i64(p + 48)
    pieces = ((words >> 12) & 0xF) | ((words >> 24) & 0xF0) | ((words >> 36) & 0xF00)
    scale = half_of_bits(pieces | ((words >> 48) & 0xF000))
    both = join_i32x8(splat_i32x8(words & 0xFFFFFFFF), splat_i32x8((words >> 32) & 0xFFFFFFFF))
    a = to_float((both >> places()) & splat_i32x16(7))
    scales = (a + splat_f32x16(0.5)) * splat_f32x16(0.25 * scale)
    weights = (
        _weights(p, p + 32),
        _weights(p + 8, p + 36),
        _weights(p + 16, p + 40),
        _weights(p + 24, p + 44),
    )
    return weights, scales, scales


unpack_block = None
