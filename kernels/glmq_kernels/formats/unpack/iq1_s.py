"""IQ1_S: 256 weights in 50 bytes, `scale * (2 a + 1) * (entry +- 1/8)`, a of three bits for every 32.

    0        2                   34
    | scale  | 32 numbers of     | 8 words of 16 bits: 4 times 3 high bits of |
    | f16    | entries, low byte | numbers, a, and the sign of the eighth     |

An entry is eight times -1, 0 or 1. u is nine plus eight times a weight, the scale an eighth.
"""

from __future__ import annotations

from gguf.quants import IQ1_S

from ...simd.addresses import inline, load_half
from ...simd.conversions import bytes_to_words, to_float, zero_extend
from ...simd.vectors import (
    bitcast_i8x64,
    i16x32,
    load_i8x32,
    load_i16x8,
    make_constant,
    make_shuffle,
    splat_f32x8,
    splat_i16x32,
    splat_i32x8,
)
from .code_books import CodeBook, make_weights
from .few_values import FewValues, make_half_factor, make_odd

FLOAT = False
GROUP = 32
OFFSET = CENTER = LARGEST = 9
HAS_MINIMUM = False
BYTES = 50

VALUES = tuple(8 * entry + eighth for entry in IQ1_S.grid_map for eighth in (-1, 1))
"""Of eight times a weight."""

values = make_weights(CodeBook(IQ1_S, 8, OFFSET))
each_four_times = make_shuffle([lane // 4 for lane in range(32)])
places = make_constant(i16x32, [0, 3, 6, 9] * 8)


@inline
def _steps(p):
    words = zero_extend(load_i16x8(p + 34))
    return (words >> splat_i32x8(12)) & splat_i32x8(7)


@inline
def _scales(p):
    a = to_float(_steps(p))
    return (a + splat_f32x8(0.5)) * splat_f32x8(0.25 * load_half(p))


# Of the 32 entries' eighths (words of two bytes 1 or -1): those of 8 entries, for all their weights.
spread_0, spread_1, spread_2, spread_3 = (
    make_shuffle([8 * chunk + lane // 4 for lane in range(32)]) for chunk in range(4)
)


@inline
def weights_of(numbers, negative):
    """U of 256 weights: numbers of entries, and 1 where an entry's eighths are negative (i16x32)."""
    a, b, c, d = values(numbers)
    shift = splat_i16x32(0x0101) | (splat_i16x32(0) - negative)
    return (
        a + bitcast_i8x64(spread_0(shift, shift)),
        b + bitcast_i8x64(spread_1(shift, shift)),
        c + bitcast_i8x64(spread_2(shift, shift)),
        d + bitcast_i8x64(spread_3(shift, shift)),
    )


@inline
def unpack(p):
    scales = _scales(p)
    words = load_i16x8(p + 34)
    words = each_four_times(words, words)
    high = ((words >> places()) & splat_i16x32(7)) << splat_i16x32(8)
    low = bytes_to_words(load_i8x32(p + 2))
    return weights_of(low | high, words >> splat_i16x32(15)), scales, scales


unpack_block = None
few_values = FewValues(VALUES, make_odd(_steps, 8), make_half_factor(0, 0.125))
