"""Q8_0: 32 weights in 34 bytes, `scale * q`; u is q + 128.

0        2                      34
| scale  | 32 signed bytes      |
| f16    |                      |
"""

from __future__ import annotations

from ...simd.addresses import inline
from ...simd.pair_products import takes_signed
from ...simd.vectors import join_i8x32, load_i8x32, splat_i8x32, splat_i8x64
from .avx2_block_scales import make_block_scales
from .avx2_turned import make_bytes, turned_by_halves
from .blocks_of_32 import make_unpack, make_unpack_block, make_unpack_turned
from .turned import make_turned_bytes

FLOAT = False
GROUP = 32
OFFSET = CENTER = LARGEST = 128
HAS_MINIMUM = False
SIZE = 34
BYTES = 8 * SIZE


@inline
def _weights(p):
    return load_i8x32(p + 2) ^ splat_i8x32(128)


@inline
def _weights_of_two(p, q):
    return join_i8x32(load_i8x32(p + 2), load_i8x32(q + 2)) ^ splat_i8x64(128)


unpack = make_unpack(SIZE, _weights_of_two, 0)
unpack_block = make_unpack_block(_weights, 0)

signed_bytes = make_turned_bytes(SIZE, 2)


@inline
def _unsigned_bytes(p):
    a, b, c, d = signed_bytes(p)
    middle = splat_i8x64(128)
    return a ^ middle, b ^ middle, c ^ middle, d ^ middle


unpack_turned = make_unpack_turned(SIZE, _unsigned_bytes, 0)

sign_bit = 0 if takes_signed(CENTER + LARGEST) else 128
avx2_turned = turned_by_halves(*make_bytes(SIZE, 2, sign_bit), scales=make_block_scales(SIZE))
