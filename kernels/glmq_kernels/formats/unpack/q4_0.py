"""Q4_0: 32 weights in 18 bytes, `scale * (u - 8)`.

0        2                                18
| scale  | 16 bytes: low nibbles are      |
| f16    | columns 0..15, high 16..31     |
"""

from __future__ import annotations

from ...jit import isa
from ...simd.addresses import inline
from ...simd.conversions import half_to_float
from ...simd.vectors import bitcast_i8x64, bitcast_i16x32, load_i8x64, load_i16x32, make_shuffle, splat_i8x64
from .avx2_block_scales import make_block_scales
from .avx2_turned import stages_of_blocks, turned_by_stages
from .blocks_of_32 import (
    make_nibbles_of_blocks,
    make_unpack,
    make_unpack_block,
    make_unpack_turned,
    nibbles,
    nibbles_of_two,
    shifts_512,
)

FLOAT = False
GROUP = 32
OFFSET = CENTER = LARGEST = 8
HAS_MINIMUM = False
SIZE = 18
BYTES = 8 * SIZE


@inline
def _weights(p):
    return nibbles(p + 2)


@inline
def _weights_of_two(p, q):
    return nibbles_of_two(p + 2, q + 2)


# With 512-bit registers the scales of eight blocks, 144 bytes, are picked out of two loads, where they
# lie at 16-bit words 0, 9, 18, ..., and the 16 packed bytes of two blocks out of one.
pick_scales = make_shuffle([0, 9, 18, 27, 36, 45, 54, 63])
spread = make_shuffle([2 + i for i in range(16)] * 2 + [20 + i for i in range(16)] * 2)
spread_last = make_shuffle([30 + i for i in range(16)] * 2 + [48 + i for i in range(16)] * 2)


@inline
def _nibbles(doubled):
    return bitcast_i8x64(bitcast_i16x32(doubled) >> shifts_512()) & splat_i8x64(15)


@inline
def _unpack_512(p):
    scales = half_to_float(pick_scales(load_i16x32(p), load_i16x32(p + 64)))
    a, b, c, d = load_i8x64(p), load_i8x64(p + 36), load_i8x64(p + 72), load_i8x64(p + 80)
    weights = (
        _nibbles(spread(a, a)),
        _nibbles(spread(b, b)),
        _nibbles(spread(c, c)),
        _nibbles(spread_last(d, d)),
    )
    return weights, scales, scales


unpack = _unpack_512 if isa.current().shuffle == "avx512" else make_unpack(SIZE, _weights_of_two, 0)
unpack_block = make_unpack_block(_weights, 0)
unpack_turned = make_unpack_turned(SIZE, make_nibbles_of_blocks(SIZE, 2), 0)
avx2_turned = turned_by_stages(stages_of_blocks(SIZE, 2), make_block_scales(SIZE))
