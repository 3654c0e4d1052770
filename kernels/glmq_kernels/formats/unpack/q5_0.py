"""Q5_0: 32 weights in 22 bytes, `scale * (u - 16)`.

0        2            6                                22
| scale  | 32 bits:   | 16 bytes: low nibbles are      |
| f16    | u's bit 4  | columns 0..15, high 16..31     |
"""

from __future__ import annotations

from ...simd.addresses import inline, load_u32
from ...simd.lookup import select_bits
from ...simd.vectors import splat_i8x32, splat_i8x64
from .avx2_block_scales import make_block_scales
from .avx2_turned import Avx2Turned, make_five_bits
from .blocks_of_32 import make_unpack, make_unpack_block, nibbles, nibbles_of_two

FLOAT = False
GROUP = 32
OFFSET = CENTER = LARGEST = 16
HAS_MINIMUM = False
SIZE = 22
BYTES = 8 * SIZE


@inline
def add_fifth_bit(low, bits):
    """32 nibbles, 16 more where the bit is set."""
    return select_bits(bits, low | splat_i8x32(16), low)


@inline
def add_fifth_bits(low, bits_0, bits_1):
    """The same for two blocks."""
    return select_bits(bits_0 | (bits_1 << 32), low | splat_i8x64(16), low)


@inline
def _weights(p):
    return add_fifth_bit(nibbles(p + 6), load_u32(p + 2))


@inline
def _weights_of_two(p, q):
    return add_fifth_bits(nibbles_of_two(p + 6, q + 6), load_u32(p + 2), load_u32(q + 2))


unpack = make_unpack(SIZE, _weights_of_two, 0)
unpack_block = make_unpack_block(_weights, 0)
avx2_turned = Avx2Turned(make_five_bits(SIZE, 2, 6), make_block_scales(SIZE))
