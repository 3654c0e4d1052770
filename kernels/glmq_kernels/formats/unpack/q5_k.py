"""Q5_K: 256 weights in 176 bytes, `scale * a * u - minimum * b`, a and b as in Q4_K.

    0        2         4             16             48                                176
    | scale  | minimum | a and b     | 32 bytes     | 4 times 32 bytes: low nibbles   |
    | f16    | f16     | 12 bytes    | of fifth bits| are 32 weights, high the next   |

Bit i of a byte of fifth bits belongs to the i-th run of 32 weights.
"""

from __future__ import annotations

from ...simd.addresses import inline
from ...simd.vectors import load_i32x16
from .avx2_turned import make_bit_of_each_block, make_half_of_runs, turned_by_halves
from .avx512_turned import make_nibble_words, make_top_words, turns_in_lanes
from .q4_k import nibbles, unpack_scales
from .runs_of_32 import load_twice, make_bits

FLOAT = False
GROUP = 32
OFFSET = 0
CENTER = LARGEST = 16
HAS_MINIMUM = True
BYTES = 176

fifth_0, fifth_1, fifth_2, fifth_3 = (make_bits(2 * i - 4, 2 * i - 3, 16) for i in range(4))


@inline
def unpack(p):
    scales, minima = unpack_scales(p)
    high = load_twice(p + 16)
    weights = (
        nibbles(load_twice(p + 48)) | fifth_0(high),
        nibbles(load_twice(p + 80)) | fifth_1(high),
        nibbles(load_twice(p + 112)) | fifth_2(high),
        nibbles(load_twice(p + 144)) | fifth_3(high),
    )
    return weights, scales, minima


unpack_block = None

if turns_in_lanes():
    lane_nibbles = make_nibble_words(48, word=lambda b: 8 * (b // 2), shift=lambda b: 4 * (b % 2))
    add_lane_bits = make_top_words(word=lambda b: 0, shift=lambda b: b - 4, mask=16)

    @inline
    def unpack_turned(p):
        scales, minima = unpack_scales(p)
        return add_lane_bits(load_i32x16(p + 16), lane_nibbles(p)), scales, minima


first_nibbles, last_nibbles = make_half_of_runs(48), make_half_of_runs(64)
add_first_bits, add_last_bits = make_bit_of_each_block(16, [16] * 8), make_bit_of_each_block(32, [16] * 8)


@inline
def _first_half(p):
    return add_first_bits(p, first_nibbles(p))


@inline
def _last_half(p):
    return add_last_bits(p, last_nibbles(p))


avx2_turned = turned_by_halves(_first_half, _last_half, two_ahead=False)
