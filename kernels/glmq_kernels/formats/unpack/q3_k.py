"""Q3_K: 256 weights in 110 bytes, `scale * (a - 32) * (u - 4)`, a of six bits for every 16.

    0              32              96           108      110
    | 32 bytes     | 64 bytes      | a           | scale |
    | of third bits| of low 2 bits | 12 bytes    | f16   |

Each half of the low bits (32 bytes) holds four runs of 32 weights, two bits higher each. Bit i of a byte
of third bits belongs to run i of all eight. Of a, the nibbles of the first eight bytes are the low bits
(all low nibbles, then all high ones), and the last four bytes hold the high ones, two bits higher for
every four.
"""

from __future__ import annotations

from typing import Any

from ...simd.addresses import inline, load_half, load_i64, load_u32
from ...simd.conversions import bytes_to_words, to_float
from ...simd.vectors import make_shuffle, splat_f32x16, splat_i16x16
from ...simd.words import word_as_bytes
from .avx2_turned import TIMES_OF_RUNS, make_bit_of_each_block, make_half_of_two_bits, turned_by_halves
from .q4_k import widen_bytes
from .runs_of_32 import load_twice, make_bits

FLOAT = False
GROUP = 16
OFFSET = CENTER = LARGEST = 4
HAS_MINIMUM = False
BYTES = 110

first_runs, last_runs = make_bits(0, 2, 3), make_bits(4, 6, 3)
third_0, third_1, third_2, third_3 = (make_bits(2 * i - 2, 2 * i - 1, 4) for i in range(4))


@inline
def _scale_bytes(p):
    """A of 16 groups, as bytes of two int64."""
    low, high = load_i64(p + 96), load_u32(p + 104)
    a = (low & 0x0F0F0F0F0F0F0F0F) | ((high & 0x03030303) << 4) | ((high & 0x0C0C0C0C) << 34)
    b = ((low >> 4) & 0x0F0F0F0F0F0F0F0F) | (high & 0x30303030) | ((high & 0xC0C0C0C0) << 30)
    return a, b


@inline
def unpack(p):
    a, b = _scale_bytes(p)
    scales = (to_float(widen_bytes(a, b)) - splat_f32x16(32)) * splat_f32x16(load_half(p + 108))
    third, low_0, low_1 = load_twice(p), load_twice(p + 32), load_twice(p + 64)
    weights = (
        first_runs(low_0) | third_0(third),
        last_runs(low_0) | third_1(third),
        first_runs(low_1) | third_2(third),
        last_runs(low_1) | third_3(third),
    )
    return weights, scales, scales


unpack_block = None

join_i8x8 = make_shuffle(range(16))


def _make_half(at: int) -> Any:
    low_bits, third = make_half_of_two_bits(32 + at), [4 * times for times in TIMES_OF_RUNS]
    add_third_bits = make_bit_of_each_block(at, third)

    @inline
    def half(p):
        return add_third_bits(p, low_bits(p))

    return half


@inline
def _words(p):
    a, b = _scale_bytes(p)
    scales = bytes_to_words(join_i8x8(word_as_bytes(a), word_as_bytes(b))) - splat_i16x16(32)
    scale = load_half(p + 108)
    return scales, scales, scale, scale


avx2_turned = turned_by_halves(
    _make_half(0), _make_half(16), words=_words, times=TIMES_OF_RUNS, two_ahead=False
)
