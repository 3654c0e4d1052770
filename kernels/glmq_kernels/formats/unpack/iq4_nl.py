"""IQ4_NL: 32 weights in 18 bytes, `scale * value[nibble]`, with 16 values further apart at the ends.

0        2                                18
| scale  | 16 bytes: low nibbles are      |
| f16    | columns 0..15, high 16..31     |
"""

from __future__ import annotations

from gguf.quants import IQ4_NL

from ...simd.addresses import inline
from ...simd.lookup import make_byte_lookup
from ...simd.pair_products import takes_signed
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
OFFSET = CENTER = LARGEST = 127
HAS_MINIMUM = False
SIZE = 18
BYTES = 8 * SIZE

values = make_byte_lookup([value + OFFSET for value in IQ4_NL.kvalues])
"""u of each nibble."""


@inline
def _weights(p):
    return values(nibbles(p + 2))


@inline
def _weights_of_two(p, q):
    return values(nibbles_of_two(p + 2, q + 2))


unpack = make_unpack(SIZE, _weights_of_two, 0)
unpack_block = make_unpack_block(_weights, 0)
unpack_turned = make_unpack_turned(SIZE, make_nibbles_of_blocks(SIZE, 2, values), 0)

avx2_values = make_byte_lookup(IQ4_NL.kvalues) if takes_signed(CENTER + LARGEST) else values
avx2_turned = turned_by_stages(stages_of_blocks(SIZE, 2, avx2_values), make_block_scales(SIZE))
