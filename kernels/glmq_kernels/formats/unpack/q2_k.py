"""Q2_K: 256 weights in 84 bytes, `scale * a * u - minimum * b`, a and b of four bits for every 16.

    0                16              80       82        84
    | a low nibble,  | 64 bytes      | scale  | minimum |
    | b high, 16     | of 2 bits     | f16    | f16     |

Each half of the bits (32 bytes) holds four runs of 32 weights, two bits higher each.
"""

from __future__ import annotations

from ...simd.addresses import inline, load_half, load_i64
from ...simd.conversions import bytes_to_words, to_float
from ...simd.vectors import i16x16, load_i8x16, make_constant, splat_f32x16, splat_i16x16
from .avx2_turned import TIMES_OF_RUNS, make_half_of_two_bits, turned_by_halves
from .q4_k import widen_bytes
from .runs_of_32 import load_twice, make_bits

FLOAT = False
GROUP = 16
OFFSET = 0
CENTER = LARGEST = 2
HAS_MINIMUM = True
BYTES = 84

first_runs, last_runs = make_bits(0, 2, 3), make_bits(4, 6, 3)
NIBBLES = 0x0F0F0F0F0F0F0F0F


@inline
def unpack(p):
    first, last = load_i64(p), load_i64(p + 8)
    scales = to_float(widen_bytes(first & NIBBLES, last & NIBBLES))
    minima = to_float(widen_bytes((first >> 4) & NIBBLES, (last >> 4) & NIBBLES))
    low_0, low_1 = load_twice(p + 16), load_twice(p + 48)
    weights = first_runs(low_0), last_runs(low_0), first_runs(low_1), last_runs(low_1)
    return weights, scales * splat_f32x16(load_half(p + 80)), minima * splat_f32x16(-load_half(p + 82))


unpack_block = None

four_bits = make_constant(i16x16, [4] * 16)


@inline
def _words(p):
    both = bytes_to_words(load_i8x16(p))
    return both & splat_i16x16(15), both >> four_bits(), load_half(p + 80), -load_half(p + 82)


halves = make_half_of_two_bits(16), make_half_of_two_bits(32)
avx2_turned = turned_by_halves(*halves, words=_words, times=TIMES_OF_RUNS, two_ahead=False)
