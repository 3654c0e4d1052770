"""Q5_1: 32 weights in 24 bytes, `scale * u + minimum`.

0        2         4            8                                24
| scale  | minimum | 32 bits:   | 16 bytes: low nibbles are      |
| f16    | f16     | u's bit 4  | columns 0..15, high 16..31     |
"""

from __future__ import annotations

from ...simd.addresses import inline, load_u32
from .avx2_block_scales import make_block_scales
from .avx2_turned import Avx2Turned, make_five_bits
from .blocks_of_32 import make_unpack, make_unpack_block, nibbles, nibbles_of_two
from .q5_0 import add_fifth_bit, add_fifth_bits

FLOAT = False
GROUP = 32
OFFSET = 0
CENTER = LARGEST = 16
HAS_MINIMUM = True
SIZE = 24
BYTES = 8 * SIZE


@inline
def _weights(p):
    return add_fifth_bit(nibbles(p + 8), load_u32(p + 4))


@inline
def _weights_of_two(p, q):
    return add_fifth_bits(nibbles_of_two(p + 8, q + 8), load_u32(p + 4), load_u32(q + 4))


unpack = make_unpack(SIZE, _weights_of_two, 2)
unpack_block = make_unpack_block(_weights, 2)
avx2_turned = Avx2Turned(make_five_bits(SIZE, 4, 8), make_block_scales(SIZE, 2))
