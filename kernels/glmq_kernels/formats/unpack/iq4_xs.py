"""IQ4_XS: 256 weights in 136 bytes, `scale * (a - 32) * value[nibble]`, a of six bits for every 32.

    0        2              4              8                              136
    | scale  | high 2 bits  | low nibbles  | 8 times 16 bytes: the low    |
    | f16    | of a, 16 bits| of a, 4 bytes| nibbles, then the high ones  |

The values are those of IQ4_NL.
"""

from __future__ import annotations

from ...simd.addresses import inline, load_half, load_u16, load_u32
from ...simd.conversions import to_float
from ...simd.vectors import i32x8, make_constant, splat_f32x8, splat_i32x8
from .avx2_turned import stages_of_blocks, turned_by_stages
from .blocks_of_32 import nibbles_of_two
from .iq4_nl import avx2_values, values

FLOAT = False
GROUP = 32
OFFSET = CENTER = LARGEST = 127
HAS_MINIMUM = False
BYTES = 136

nibble_places = make_constant(i32x8, [4 * i for i in range(8)])
pair_places = make_constant(i32x8, [2 * i for i in range(8)])
four = make_constant(i32x8, [4] * 8)


@inline
def unpack(p):
    low = (splat_i32x8(load_u32(p + 4)) >> nibble_places()) & splat_i32x8(15)
    high = (splat_i32x8(load_u16(p + 2)) >> pair_places()) & splat_i32x8(3)
    scales = (to_float(low | (high << four())) - splat_f32x8(32)) * splat_f32x8(load_half(p))
    weights = (
        values(nibbles_of_two(p + 8, p + 24)),
        values(nibbles_of_two(p + 40, p + 56)),
        values(nibbles_of_two(p + 72, p + 88)),
        values(nibbles_of_two(p + 104, p + 120)),
    )
    return weights, scales, scales


unpack_block = None
avx2_turned = turned_by_stages(stages_of_blocks(16, 8, avx2_values))
