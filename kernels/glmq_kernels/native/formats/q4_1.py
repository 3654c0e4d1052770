"""Q4_1: 32 weights in 20 bytes, `scale * q + minimum`.

0        2         4                                20
| scale  | minimum | 16 bytes: low nibbles are      |
| f16    | f16     | columns 0..15, high 16..31     |
"""

from __future__ import annotations

from ..memory import inline, load_half, load_u8, store_f32
from ..panel import load_16_halves, load_16_rows, store_columns
from ..simd import store
from .blocks_of_32 import high_nibbles, low_nibbles, make_dot_row, nibbles_in_order

FLOAT = False
GROUP = 32
HAS_MINIMUM = True
WIDE = False
BYTES = 20


@inline
def _weights(block):
    return nibbles_in_order(block + 4)


@inline
def _constant(block, scale):
    return load_half(block + 2)


dot_row = make_dot_row(BYTES, _weights, _constant, WIDE)


@inline
def unpack_panel(rows, stride, block, panel):
    p = rows + block * BYTES
    a, b, c, d = load_16_rows(p + 4, stride)
    start = store_columns(panel, low_nibbles(a), low_nibbles(b), low_nibbles(c), low_nibbles(d))
    start = start + store_columns(
        panel + 256, high_nibbles(a), high_nibbles(b), high_nibbles(c), high_nibbles(d)
    )
    store(panel + 512, load_16_halves(p, stride))
    store(panel + 576, start)
    store(panel + 640, load_16_halves(p + 2, stride))


@inline
def dequantize_row(row, out, columns):
    for i in range(columns // 32):
        p = row + i * BYTES
        d, minimum = load_half(p), load_half(p + 2)
        for j in range(16):
            packed = int(load_u8(p + 4 + j))
            store_f32(out + 4 * (32 * i + j), d * (packed & 15) + minimum)
            store_f32(out + 4 * (32 * i + 16 + j), d * (packed >> 4) + minimum)
