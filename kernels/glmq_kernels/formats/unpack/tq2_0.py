"""TQ2_0: 256 weights of -1, 0 or 1 times a scale in 66 bytes, `scale * (u - 1)`.

    0               64      66
    | 64 bytes      | scale |
    | of 2 bits     | f16   |

Each half of the bits (32 bytes) holds four runs of 32 weights, two bits higher each.
"""

from __future__ import annotations

from ...simd.addresses import inline, load_half
from ...simd.vectors import splat_f32x8
from .avx2_turned import TIMES_OF_RUNS, make_half_of_two_bits, turned_by_halves
from .runs_of_32 import load_twice, make_bits

FLOAT = False
GROUP = 32
OFFSET = CENTER = 1
LARGEST = 2
HAS_MINIMUM = False
BYTES = 66

first_runs, last_runs = make_bits(0, 2, 3), make_bits(4, 6, 3)


@inline
def unpack(p):
    scales = splat_f32x8(load_half(p + 64))
    low_0, low_1 = load_twice(p), load_twice(p + 32)
    weights = first_runs(low_0), last_runs(low_0), first_runs(low_1), last_runs(low_1)
    return weights, scales, scales


unpack_block = None
halves = make_half_of_two_bits(0), make_half_of_two_bits(16)
avx2_turned = turned_by_halves(*halves, times=TIMES_OF_RUNS, two_ahead=False)
