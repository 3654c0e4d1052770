"""Q4_K: 256 weights in 144 bytes, `scale * a * u - minimum * b`, a and b of six bits for every 32.

    0        2         4             16                                144
    | scale  | minimum | a and b     | 4 times 32 bytes: low nibbles   |
    | f16    | f16     | 12 bytes    | are 32 weights, high the next   |

The twelve bytes hold, for groups i = 0..3 (`E` the two high bits of a[4 + i], `e` of b[4 + i]):

    byte i      EEaaaaaa    a[i]
    byte 4 + i  eebbbbbb    b[i]
    byte 8 + i  bbbbaaaa    the four low bits of b[4 + i] and a[4 + i]
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...simd.addresses import inline, load_half, load_i64, load_u32
from ...simd.conversions import to_float
from ...simd.vectors import I32, I64, i32x16, make_shuffle, splat_f32x8
from .avx2_turned import stages_of_runs, turned_by_stages
from .avx512_turned import make_nibble_words, turns_in_lanes
from .runs_of_32 import load_twice, make_bits

FLOAT = False
GROUP = 32
OFFSET = 0
CENTER = LARGEST = 8
HAS_MINIMUM = True
BYTES = 144

nibbles = make_bits(0, 4, 15)
scale_lanes = make_shuffle([0, 1, 2, 3, 8, 9, 10, 11])
minimum_lanes = make_shuffle([4, 5, 6, 7, 12, 13, 14, 15])


@intrinsic
def widen_bytes(typing: Any, low: Any, high: Any) -> Any:
    """The sixteen bytes of two int64 as int32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = ir.Constant(ir.VectorType(I64, 2), ir.Undefined)
        for i, value in enumerate(args):
            vector = builder.insert_element(vector, value, I32(i))
        small = builder.bitcast(vector, ir.VectorType(ir.IntType(8), 16))
        return builder.zext(small, i32x16.llvm)

    return i32x16(types.int64, types.int64), codegen


@inline
def unpack_scales(p):
    """Scales and minima (negative) of the eight groups of a block."""
    first, second = load_i64(p + 4), load_u32(p + 12)
    nibble_pairs = (second & 0x0F0F0F0F) | ((second & 0xF0F0F0F0) << 28)
    both = to_float(
        widen_bytes(first & 0x3F3F3F3F3F3F3F3F, nibble_pairs | ((first >> 2) & 0x3030303030303030))
    )
    scales = scale_lanes(both, both) * splat_f32x8(load_half(p))
    return scales, minimum_lanes(both, both) * splat_f32x8(-load_half(p + 2))


@inline
def _weights(p):
    return nibbles(load_twice(p))


@inline
def unpack(p):
    scales, minima = unpack_scales(p)
    weights = _weights(p + 16), _weights(p + 48), _weights(p + 80), _weights(p + 112)
    return weights, scales, minima


unpack_block = None

if turns_in_lanes():
    lane_nibbles = make_nibble_words(16, word=lambda b: 8 * (b // 2), shift=lambda b: 4 * (b % 2))

    @inline
    def unpack_turned(p):
        scales, minima = unpack_scales(p)
        return lane_nibbles(p), scales, minima


avx2_turned = turned_by_stages(stages_of_runs(16))
