"""Q8_0: 32 weights in 34 bytes, `scale * q`.

0        2                      34
| scale  | 32 signed bytes      |
| f16    |                      |
"""

from __future__ import annotations

from ..memory import inline, load_half, load_i8, store_f32
from ..panel import load_16_halves, load_16_rows, store_columns
from ..simd import i8x32, load_i8x32, make_constant, store
from .blocks_of_32 import make_dot_row

FLOAT = False
GROUP = 32
HAS_MINIMUM = False
WIDE = True
BYTES = 34

top_bit = make_constant(i8x32, [-128] * 32)


@inline
def _weights(block):
    return load_i8x32(block + 2) ^ top_bit()


@inline
def _constant(block, scale):
    return -128 * scale


dot_row = make_dot_row(BYTES, _weights, _constant, WIDE)


@inline
def unpack_panel(rows, stride, block, panel):
    p = rows + block * BYTES
    a, b, c, d = load_16_rows(p + 2, stride)
    start = store_columns(panel, a, b, c, d)
    a, b, c, d = load_16_rows(p + 18, stride)
    start = start + store_columns(panel + 256, a, b, c, d)
    store(panel + 512, load_16_halves(p, stride))
    store(panel + 576, start)


@inline
def dequantize_row(row, out, columns):
    for i in range(columns // 32):
        p = row + i * BYTES
        d = load_half(p)
        for j in range(32):
            store_f32(out + 4 * (32 * i + j), d * load_i8(p + 2 + j))
