"""Q6_K: 256 weights in 210 bytes, `scale * a * (u - 32)`, a signed byte a for every 16.

    0                128              192                208      210
    | low 4 bits     | high 2 bits    | 16 times a       | scale  |
    | 128 bytes      | 64 bytes       | int8             | f16    |

Each half of the block (128 weights: 64 low bytes, 32 high bytes) holds four runs of 32 weights: the
low nibbles of low bytes 0..31 and 32..63, then their high nibbles; run r has bits 2r and 2r + 1 of the
high bytes on top.
"""

from __future__ import annotations

from ...simd.addresses import inline, load_half
from ...simd.conversions import bytes_to_signed_words, to_float, widen_to_i32
from ...simd.vectors import load_i8x16, load_i8x64, load_i32x16, splat_f32x16
from .avx2_turned import load_two, turned_by_halves
from .avx2_turned import make_bits as avx2_bits
from .avx512_turned import make_nibble_words, make_top_words, turns_in_lanes
from .runs_of_32 import load_twice, make_bits
from .turned import turn_halves

FLOAT = False
GROUP = 16
OFFSET = CENTER = LARGEST = 32
HAS_MINIMUM = False
BYTES = 210

low_nibbles, high_nibbles = make_bits(0, 0, 15), make_bits(4, 4, 15)
top_of_first_runs, top_of_last_runs = make_bits(-4, -2, 0x30), make_bits(0, 2, 0x30)


@inline
def _scales(p):
    scales = to_float(widen_to_i32(load_i8x16(p + 192))) * splat_f32x16(load_half(p + 208))
    return scales, scales


@inline
def unpack(p):
    scales, minima = _scales(p)
    low_0, low_1 = load_i8x64(p), load_i8x64(p + 64)
    high_0, high_1 = load_twice(p + 128), load_twice(p + 160)
    weights = (
        low_nibbles(low_0) | top_of_first_runs(high_0),
        high_nibbles(low_0) | top_of_last_runs(high_0),
        low_nibbles(low_1) | top_of_first_runs(high_1),
        high_nibbles(low_1) | top_of_last_runs(high_1),
    )
    return weights, scales, minima


unpack_block = None

if turns_in_lanes():
    lane_nibbles = make_nibble_words(
        0, word=lambda b: 16 * (b // 4) + 8 * (b % 2), shift=lambda b: 4 * (b % 4 // 2)
    )
    add_lane_bits = make_top_words(word=lambda b: 8 * (b // 4), shift=lambda b: 2 * (b % 4) - 4, mask=0x30)

    @inline
    def unpack_turned(p):
        scales, minima = _scales(p)
        return add_lane_bits(load_i32x16(p + 128), lane_nibbles(p)), scales, minima


low_0, low_1, low_2, low_3 = (avx2_bits(4 * (r // 2), 15) for r in range(4))
top_0, top_1, top_2, top_3 = (avx2_bits(2 * r - 4, 0x30) for r in range(4))


@inline
def _half(p, q):
    """Of 16 bytes of the first and second 32 low ones in either half of a block, at q of the high ones."""
    first, second, high = load_two(p, p + 64), load_two(p + 32, p + 96), load_two(q, q + 32)
    return turn_halves(
        low_0(first) | top_0(high),
        low_1(second) | top_1(high),
        low_2(first) | top_2(high),
        low_3(second) | top_3(high),
    )


@inline
def _first_half(p):
    return _half(p, p + 128)


@inline
def _last_half(p):
    return _half(p + 16, p + 144)


@inline
def _words(p):
    scales, scale = bytes_to_signed_words(load_i8x16(p + 192)), load_half(p + 208)
    return scales, scales, scale, scale


avx2_turned = turned_by_halves(_first_half, _last_half, words=_words)
