"""Q4_0: 32 weights in 18 bytes, `scale * (q - 8)`.

0        2                                18
| scale  | 16 bytes: low nibbles are      |
| f16    | columns 0..15, high 16..31     |
"""

from __future__ import annotations

from ... import isa
from ..conversions import half_to_float, to_float
from ..dot import make_dot
from ..memory import inline, load_half, load_u8, prefetch, store_f32
from ..panel import load_16_halves, load_16_rows, store_columns
from ..simd import (
    bitcast_i8x64,
    bitcast_i16x32,
    fma,
    i16x32,
    load_f32x8,
    load_i8x64,
    load_i16x32,
    make_constant,
    make_shuffle,
    splat_i8x64,
    store,
    sum_lanes,
    zero_f32x8,
    zero_f32x16,
    zero_i32x16,
)
from .blocks_of_32 import PREFETCH_BYTES, high_nibbles, low_nibbles, make_dot_from, nibbles_in_order

FLOAT = False
GROUP = 32
HAS_MINIMUM = False
WIDE = False
BYTES = 18

dot = make_dot(WIDE)


@inline
def _weights(block):
    return nibbles_in_order(block + 2)


@inline
def _constant(block, scale):
    return -8 * scale


dot_from = make_dot_from(BYTES, _weights, _constant, WIDE)


@inline
def _dot_row_any(row, q, scale, sum16, sum32, columns):
    return dot_from(0, row, q, scale, sum32, columns)


# With 512-bit registers eight blocks, 144 bytes, are taken at once: their scales lie at 16-bit words
# 0, 9, 18, ... of two loads; 16 packed bytes are spread twice and a shift per lane parts the nibbles.
pick_scales = make_shuffle([0, 9, 18, 27, 36, 45, 54, 63])
spread = make_shuffle([2 + i for i in range(16)] * 2 + [20 + i for i in range(16)] * 2)
spread_last = make_shuffle([30 + i for i in range(16)] * 2 + [48 + i for i in range(16)] * 2)
nibble_shifts = make_constant(i16x32, ([0] * 8 + [4] * 8) * 2)
pair_0, pair_1, pair_2, pair_3 = (make_shuffle([2 * k] * 8 + [2 * k + 1] * 8) for k in range(4))


@inline
def _products(doubled, x):
    nibbles = bitcast_i8x64(bitcast_i16x32(doubled) >> nibble_shifts()) & splat_i8x64(15)
    return to_float(dot(zero_i32x16(), nibbles, load_i8x64(x)))


@inline
def _dot_row_512(row, q, scale, sum16, sum32, columns):
    count = columns // 256 * 8
    total = zero_f32x16()
    correction = zero_f32x8()
    for i in range(0, count, 8):
        p = row + i * BYTES
        x = q + i * 32
        prefetch(p + PREFETCH_BYTES)
        prefetch(p + PREFETCH_BYTES + 64)
        scales = half_to_float(pick_scales(load_i16x32(p), load_i16x32(p + 64)))
        correction = fma(scales, load_f32x8(sum32 + i * 4), correction)
        factors = scales * load_f32x8(scale + i * 4)
        a, b, c, d = load_i8x64(p), load_i8x64(p + 36), load_i8x64(p + 72), load_i8x64(p + 80)
        total = fma(_products(spread(a, a), x), pair_0(factors, factors), total)
        total = fma(_products(spread(b, b), x + 64), pair_1(factors, factors), total)
        total = fma(_products(spread(c, c), x + 128), pair_2(factors, factors), total)
        total = fma(_products(spread_last(d, d), x + 192), pair_3(factors, factors), total)
    result = sum_lanes(total) - 8 * sum_lanes(correction)
    if count * 32 < columns:
        result += dot_from(count, row, q, scale, sum32, columns)
    return result


dot_row = _dot_row_512 if isa.current().dot == "vnni" else _dot_row_any


@inline
def unpack_panel(rows, stride, block, panel):
    p = rows + block * BYTES
    a, b, c, d = load_16_rows(p + 2, stride)
    eight = splat_i8x64(8)
    start = store_columns(
        panel, low_nibbles(a) - eight, low_nibbles(b) - eight, low_nibbles(c) - eight, low_nibbles(d) - eight
    )
    start = start + store_columns(
        panel + 256,
        high_nibbles(a) - eight,
        high_nibbles(b) - eight,
        high_nibbles(c) - eight,
        high_nibbles(d) - eight,
    )
    store(panel + 512, load_16_halves(p, stride))
    store(panel + 576, start)


@inline
def dequantize_row(row, out, columns):
    for i in range(columns // 32):
        p = row + i * BYTES
        d = load_half(p)
        for j in range(16):
            packed = int(load_u8(p + 2 + j))
            store_f32(out + 4 * (32 * i + j), d * ((packed & 15) - 8))
            store_f32(out + 4 * (32 * i + 16 + j), d * ((packed >> 4) - 8))
