"""Weights of any tensor type as float32."""

from __future__ import annotations

from typing import Any

from ..simd.addresses import inline, store_f32
from ..simd.conversions import to_float, zero_extend
from ..simd.vectors import fma, make_shuffle, splat_f32x16, store
from .unpack import unpacking_of

quarter_0, quarter_1, quarter_2, quarter_3 = (make_shuffle(range(16 * k, 16 * k + 16)) for k in range(4))
LANES = {
    16: [[make_shuffle([k] * 16) for k in range(first, first + 4)] for first in range(0, 16, 4)],
    32: [[make_shuffle([2 * k + i // 2] * 16) for i in range(4)] for k in range(4)],
}
"""For each 64 of 256 weights, and each 16 of these: the scale of their group."""


def make_dequantize_64(kind: Any) -> list[Any]:
    """Four functions, `values(weights, scales, minima) -> four f32x16`, of what `unpack` gives.

    Each takes one of the four vectors of 64 weights, and all scales and minima.
    """
    return [_dequantize_64(kind, lanes) for lanes in LANES[kind.GROUP]]


def _dequantize_64(kind: Any, lanes: list[Any]) -> Any:
    lane_0, lane_1, lane_2, lane_3 = lanes
    has_minimum, offset = kind.HAS_MINIMUM, float(kind.OFFSET)

    @inline
    def values_16(weights, scale, minimum):
        start = minimum if has_minimum else scale * splat_f32x16(-offset)
        return fma(to_float(zero_extend(weights)), scale, start)

    @inline
    def values(weights, scales, minima):
        return (
            values_16(quarter_0(weights, weights), lane_0(scales, scales), lane_0(minima, minima)),
            values_16(quarter_1(weights, weights), lane_1(scales, scales), lane_1(minima, minima)),
            values_16(quarter_2(weights, weights), lane_2(scales, scales), lane_2(minima, minima)),
            values_16(quarter_3(weights, weights), lane_3(scales, scales), lane_3(minima, minima)),
        )

    return values


def make_dequantize_block(kind: Any) -> Any:
    """`values(weights, scale, minimum) -> two f32x16` of what `unpack_block` gives."""
    has_minimum, offset = kind.HAS_MINIMUM, float(kind.OFFSET)

    @inline
    def values(weights, scale, minimum):
        start = splat_f32x16(minimum if has_minimum else -offset * scale)
        first, second = quarter_0(weights, weights), quarter_1(weights, weights)
        factor = splat_f32x16(scale)
        return fma(to_float(zero_extend(first)), factor, start), fma(
            to_float(zero_extend(second)), factor, start
        )

    return values


def make_dequantize_row(format_name: str) -> Any:
    """`dequantize_row(row, out, columns)`: a row of a matrix to float32."""
    kind = unpacking_of(format_name)
    return _make_float_row(kind) if kind.FLOAT else _make_integer_row(kind)


def rows(format_name: str) -> Any:
    """Kernel for other kernels: rows of a matrix to float32.

    The first row, bytes from a row to the next, number of rows, columns, out, bytes from a row to the next
    there.
    """
    dequantize_row = make_dequantize_row(format_name)

    def kernel(first, stride, count, columns, out, out_stride):
        for i in range(count):
            dequantize_row(first + i * stride, out + i * out_stride, columns)

    return kernel


def _make_float_row(kind: Any) -> Any:
    load_16, load_1, width = kind.load_16, kind.load_1, kind.WIDTH

    @inline
    def dequantize_row(row, out, columns):
        whole = columns // 16 * 16
        for i in range(0, whole, 16):
            store(out + 4 * i, load_16(row + i * width))
        for i in range(whole, columns):
            store_f32(out + 4 * i, load_1(row + i * width))

    return dequantize_row


def _make_integer_row(kind: Any) -> Any:
    unpack, unpack_block, size = kind.unpack, kind.unpack_block, kind.BYTES
    values_0, values_1, values_2, values_3 = make_dequantize_64(kind)
    in_blocks, block_values = unpack_block is not None, make_dequantize_block(kind)

    @inline
    def put_64(values, out):
        store(out, values[0])
        store(out + 64, values[1])
        store(out + 128, values[2])
        store(out + 192, values[3])

    @inline
    def dequantize_row(row, out, columns):
        p = row
        for i in range(0, columns // 256 * 256, 256):
            weights, scales, minima = unpack(p)
            put_64(values_0(weights[0], scales, minima), out + 4 * i)
            put_64(values_1(weights[1], scales, minima), out + 4 * i + 256)
            put_64(values_2(weights[2], scales, minima), out + 4 * i + 512)
            put_64(values_3(weights[3], scales, minima), out + 4 * i + 768)
            p += size
        if in_blocks:
            for i in range(columns // 256 * 256, columns, 32):
                weights, scale, minimum = unpack_block(p)
                first, second = block_values(weights, scale, minimum)
                store(out + 4 * i, first)
                store(out + 4 * i + 64, second)
                p += size // 8

    return dequantize_row
