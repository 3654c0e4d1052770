"""Token ids to rows of the embedding matrix."""

from __future__ import annotations

from typing import Any

from ..slots import N_TOKENS, TOKENS
from .conversions import to_float, zero_extend
from .formats import native_format
from .memory import argument, inline, load_i64, store_f32
from .simd import fma, make_shuffle, splat_f32x16, store

quarter_0, quarter_1, quarter_2, quarter_3 = (make_shuffle(range(16 * k, 16 * k + 16)) for k in range(4))
lane = [[make_shuffle([k] * 16) for k in range(first, first + 4)] for first in range(0, 16, 4)]
pair = [[make_shuffle([2 * k + i // 2] * 16) for i in range(4)] for k in range(4)]


def rows(format_name: str) -> Any:
    """Kernel: state, matrix, bytes of a row, columns, out (float32 (n_tokens, columns))."""
    kind = native_format(format_name)
    dequantize_row = _make_float_row(kind) if kind.FLOAT else _make_integer_row(kind)

    def kernel(args, thread, threads):
        state, matrix, stride = argument(args, 0), argument(args, 1), argument(args, 2)
        columns, out = argument(args, 3), argument(args, 4)
        tokens = argument(state, TOKENS)
        for t in range(thread, argument(state, N_TOKENS), threads):
            dequantize_row(matrix + load_i64(tokens + 8 * t) * stride, out + 4 * columns * t, columns)

    return kernel


def _make_float_row(kind: Any) -> Any:
    load_1, width = kind.load_1, kind.WIDTH

    @inline
    def dequantize_row(row, out, columns):
        for i in range(columns):
            store_f32(out + 4 * i, load_1(row + i * width))

    return dequantize_row


def _make_integer_row(kind: Any) -> Any:
    unpack, unpack_block, size = kind.unpack, kind.unpack_block, kind.BYTES
    in_blocks, has_minimum, offset = unpack_block is not None, kind.HAS_MINIMUM, float(kind.OFFSET)
    lanes = lane if kind.GROUP == 16 else pair
    put_0, put_1, put_2, put_3 = (_make_put_64(kind, each) for each in lanes)

    @inline
    def dequantize_row(row, out, columns):
        p = row
        for i in range(0, columns // 256 * 256, 256):
            weights, scales, minima = unpack(p)
            put_0(weights[0], scales, minima, out + 4 * i)
            put_1(weights[1], scales, minima, out + 4 * i + 256)
            put_2(weights[2], scales, minima, out + 4 * i + 512)
            put_3(weights[3], scales, minima, out + 4 * i + 768)
            p += size
        if in_blocks:
            for i in range(columns // 256 * 256, columns, 32):
                weights, scale, minimum = unpack_block(p)
                start = splat_f32x16(minimum if has_minimum else -offset * scale)
                first, second = quarter_0(weights, weights), quarter_1(weights, weights)
                store(out + 4 * i, fma(to_float(zero_extend(first)), splat_f32x16(scale), start))
                store(out + 4 * i + 64, fma(to_float(zero_extend(second)), splat_f32x16(scale), start))
                p += size // 8

    return dequantize_row


def _make_put_64(kind: Any, lanes: list[Any]) -> Any:
    """`put(weights, scales, minima, out)`: 64 weights as float32."""
    lane_0, lane_1, lane_2, lane_3 = lanes
    has_minimum, offset = kind.HAS_MINIMUM, float(kind.OFFSET)

    @inline
    def put_16(weights, scale, minimum, out):
        start = minimum if has_minimum else scale * splat_f32x16(-offset)
        store(out, fma(to_float(zero_extend(weights)), scale, start))

    @inline
    def put(weights, scales, minima, out):
        put_16(quarter_0(weights, weights), lane_0(scales, scales), lane_0(minima, minima), out)
        put_16(quarter_1(weights, weights), lane_1(scales, scales), lane_1(minima, minima), out + 64)
        put_16(quarter_2(weights, weights), lane_2(scales, scales), lane_2(minima, minima), out + 128)
        put_16(quarter_3(weights, weights), lane_3(scales, scales), lane_3(minima, minima), out + 192)

    return put
