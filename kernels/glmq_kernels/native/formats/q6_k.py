"""Q6_K: 256 weights in 210 bytes, `scale * sub_scale * (q - 32)`, a sub-scale for every 16.

    0                128              192                208      210
    | low 4 bits     | high 2 bits    | 16 sub-scales    | scale  |
    | 128 bytes      | 64 bytes       | int8             | f16    |

Each half of the block (128 weights: 64 low bytes, 32 high bytes) holds four runs of 32 weights: the
low nibbles of low bytes 0..31 and 32..63, then their high nibbles; run r has bits 2r and 2r + 1 of the
high bytes on top.
"""

from __future__ import annotations

from ..conversions import to_float, widen_to_i32
from ..dot import make_dot
from ..memory import inline, load_half, load_i8, load_u8, prefetch, store_f32
from ..panel import load_16_halves, load_16_rows, load_16_signed_bytes, store_columns
from ..simd import (
    bitcast_i8x64,
    bitcast_i16x32,
    fma,
    i16x32,
    join_i8x32,
    load_f32x8,
    load_f32x16,
    load_i8x16,
    load_i8x32,
    load_i8x64,
    make_constant,
    make_shuffle,
    splat_f32x16,
    splat_i8x64,
    store,
    sum_lanes,
    zero_f32x16,
    zero_i32x16,
)
from .blocks_of_32 import PREFETCH_BYTES, high_nibbles, low_nibbles

FLOAT = False
GROUP = 16
HAS_MINIMUM = False
WIDE = False
BYTES = 210

dot = make_dot(WIDE)
# Shifts of 16-bit words that bring bits 2r, 2r + 1 of a byte to bits 4, 5: two runs in one vector.
left_4_and_2 = make_constant(i16x32, [4] * 16 + [2] * 16)
right_0_and_2 = make_constant(i16x32, [0] * 16 + [2] * 16)
quarter_0, quarter_1, quarter_2, quarter_3 = (
    make_shuffle([4 * k + lane // 4 for lane in range(16)]) for k in range(4)
)
each_twice = make_shuffle([lane // 2 for lane in range(16)])


@inline
def _first_runs(low, high):
    """Runs 0 and 1 of a half: its 64 low bytes and its 32 high bytes twice."""
    top = bitcast_i8x64(bitcast_i16x32(high) << left_4_and_2()) & splat_i8x64(0x30)
    return low_nibbles(low) | top


@inline
def _last_runs(low, high):
    """Runs 2 and 3 of a half."""
    top = bitcast_i8x64(bitcast_i16x32(high) >> right_0_and_2()) & splat_i8x64(0x30)
    return high_nibbles(low) | top


@inline
def _products(weights, x):
    return to_float(dot(zero_i32x16(), weights, load_i8x64(x)))


@inline
def dot_row(row, q, scale, sum16, sum32, columns):
    total = zero_f32x16()
    correction = zero_f32x16()
    for i in range(columns // 256):
        p = row + i * BYTES
        x = q + i * 256
        prefetch(p + PREFETCH_BYTES)
        prefetch(p + PREFETCH_BYTES + 64)
        prefetch(p + PREFETCH_BYTES + 128)
        scales = to_float(widen_to_i32(load_i8x16(p + 192))) * splat_f32x16(load_half(p + 208))
        correction = fma(scales, load_f32x16(sum16 + i * 64), correction)
        x_scales = load_f32x8(scale + i * 32)
        factors = scales * each_twice(x_scales, x_scales)
        low, high = load_i8x64(p), load_i8x32(p + 128)
        high = join_i8x32(high, high)
        total = fma(_products(_first_runs(low, high), x), quarter_0(factors, factors), total)
        total = fma(_products(_last_runs(low, high), x + 64), quarter_1(factors, factors), total)
        low, high = load_i8x64(p + 64), load_i8x32(p + 160)
        high = join_i8x32(high, high)
        total = fma(_products(_first_runs(low, high), x + 128), quarter_2(factors, factors), total)
        total = fma(_products(_last_runs(low, high), x + 192), quarter_3(factors, factors), total)
    return sum_lanes(total) - 32 * sum_lanes(correction)


@inline
def _two_bits(high, run):
    """Bits 2 run and 2 run + 1 of each byte, moved to bits 4 and 5."""
    words = bitcast_i16x32(high)
    if run == 0:
        moved = words << left_4()
    elif run == 1:
        moved = words << left_2()
    elif run == 2:
        moved = words
    else:
        moved = words >> left_2()
    return bitcast_i8x64(moved) & splat_i8x64(0x30)


left_4 = make_constant(i16x32, [4] * 32)
left_2 = make_constant(i16x32, [2] * 32)


@inline
def _run_weights(low, high, run):
    nibbles = low_nibbles(low) if run < 2 else high_nibbles(low)
    return (nibbles | _two_bits(high, run)) - splat_i8x64(32)


@inline
def unpack_panel(rows, stride, block, panel):
    p = rows + block // 8 * BYTES
    half, run = block % 8 // 4, block % 4
    scale = load_16_halves(p + 208, stride)
    for part in range(2):
        la, lb, lc, ld = load_16_rows(p + 64 * half + 32 * (run % 2) + 16 * part, stride)
        ha, hb, hc, hd = load_16_rows(p + 128 + 32 * half + 16 * part, stride)
        start = store_columns(
            panel + 256 * part,
            _run_weights(la, ha, run),
            _run_weights(lb, hb, run),
            _run_weights(lc, hc, run),
            _run_weights(ld, hd, run),
        )
        sub_scale = load_16_signed_bytes(p + 192 + 8 * half + 2 * run + part, stride)
        store(panel + 512 + 128 * part, scale * to_float(sub_scale))
        store(panel + 576 + 128 * part, start)


@inline
def dequantize_row(row, out, columns):
    for i in range(columns):
        p = row + i // 256 * BYTES
        half, run, place = i % 256 // 128, i % 128 // 32, i % 32
        low = int(load_u8(p + 64 * half + 32 * (run % 2) + place))
        high = int(load_u8(p + 128 + 32 * half + place))
        q = ((low >> (4 * (run // 2))) & 15) | ((high >> (2 * run)) & 3) << 4
        sub_scale = load_i8(p + 192 + i % 256 // 16)
        store_f32(out + 4 * i, load_half(p + 208) * sub_scale * (q - 32))
