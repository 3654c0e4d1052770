"""Q4_1: 32 weights in 20 bytes, `scale * u + minimum`.

0        2         4                                20
| scale  | minimum | 16 bytes: low nibbles are      |
| f16    | f16     | columns 0..15, high 16..31     |
"""

from __future__ import annotations

from ...simd.addresses import inline
from .avx2_block_scales import make_block_scales
from .avx2_turned import stages_of_blocks, turned_by_stages
from .blocks_of_32 import (
    make_nibbles_of_blocks,
    make_unpack,
    make_unpack_block,
    make_unpack_turned,
    nibbles,
    nibbles_of_two,
)

FLOAT = False
GROUP = 32
OFFSET = 0
CENTER = LARGEST = 8
HAS_MINIMUM = True
SIZE = 20
BYTES = 8 * SIZE


@inline
def _weights(p):
    return nibbles(p + 4)


@inline
def _weights_of_two(p, q):
    return nibbles_of_two(p + 4, q + 4)


unpack = make_unpack(SIZE, _weights_of_two, 2)
unpack_block = make_unpack_block(_weights, 2)
unpack_turned = make_unpack_turned(SIZE, make_nibbles_of_blocks(SIZE, 4), 2)
avx2_turned = turned_by_stages(stages_of_blocks(SIZE, 4), make_block_scales(SIZE, 2))
