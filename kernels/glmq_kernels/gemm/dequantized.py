"""Rows of a quantized matrix times float32 tokens: weights become float32 on their way.

The kernels of `gemv.py` and `product.py` for tapes whose activations are float32 (`Tape.activations`). They
do without the rounding of activations to 8 bits, and are slower: a float has four times the bytes of an
int8, and there is no dot product of four at once.
"""

from __future__ import annotations

from typing import Any

from ..formats.dequantize import make_dequantize_64, make_dequantize_block
from ..formats.unpack import unpacking_of
from ..simd.addresses import argument, inline
from ..simd.vectors import fma, load_f32x16, sum_lanes, zero_f32x16
from .activation_record import ACTIVATION_COLUMNS, ACTIVATION_ROWS
from .float_gemm import make_float_product
from .gemm import product_kernel
from .gemv import make_prefetch, rows_kernel, rows_kernel_4


def dot_rows(format_name: str) -> Any:
    """Kernel: as `gemv.dot_rows`."""
    return rows_kernel(_make_dot(unpacking_of(format_name)))


def dot_rows_4(format_name: str) -> Any:
    """Kernel: as `gemv.dot_rows_4`."""
    return rows_kernel_4(_make_dot_4(unpacking_of(format_name)))


def multiply(format_name: str) -> Any:
    """Kernel: as `product.multiply`."""
    return product_kernel(make_float_product(unpacking_of(format_name), in_bfloat=False))


@inline
def _add_64(total, values, x):
    """A token's four sums, with 64 more products."""
    a, b, c, d = total
    return (
        fma(values[0], load_f32x16(x), a),
        fma(values[1], load_f32x16(x + 64), b),
        fma(values[2], load_f32x16(x + 128), c),
        fma(values[3], load_f32x16(x + 192), d),
    )


@inline
def _add_32(total, values, x):
    a, b, c, d = total
    return fma(values[0], load_f32x16(x), a), fma(values[1], load_f32x16(x + 64), b), c, d


@inline
def _start():
    return zero_f32x16(), zero_f32x16(), zero_f32x16(), zero_f32x16()


@inline
def _finish(total):
    return sum_lanes((total[0] + total[1]) + (total[2] + total[3]))


def _make_dot(kind: Any) -> Any:
    ask_ahead, unpack, unpack_block, size = make_prefetch(kind), kind.unpack, kind.unpack_block, kind.BYTES
    values_0, values_1, values_2, values_3 = make_dequantize_64(kind)
    in_blocks, block_values = unpack_block is not None, make_dequantize_block(kind)

    @inline
    def dot(row, activation, token):
        columns = argument(activation, ACTIVATION_COLUMNS)
        x = argument(activation, ACTIVATION_ROWS) + 4 * columns * token
        total, p = _start(), row
        for _ in range(columns // 256):
            ask_ahead(p)
            weights, scales, minima = unpack(p)
            total = _add_64(total, values_0(weights[0], scales, minima), x)
            total = _add_64(total, values_1(weights[1], scales, minima), x + 256)
            total = _add_64(total, values_2(weights[2], scales, minima), x + 512)
            total = _add_64(total, values_3(weights[3], scales, minima), x + 768)
            p += size
            x += 1024
        if in_blocks:
            for _ in range(columns % 256 // 32):
                block, scale, minimum = unpack_block(p)
                total = _add_32(total, block_values(block, scale, minimum), x)
                p += size // 8
                x += 128
        return _finish(total)

    return dot


def _make_dot_4(kind: Any) -> Any:
    ask_ahead, unpack, unpack_block, size = make_prefetch(kind), kind.unpack, kind.unpack_block, kind.BYTES
    values_0, values_1, values_2, values_3 = make_dequantize_64(kind)
    in_blocks, block_values = unpack_block is not None, make_dequantize_block(kind)

    @inline
    def add_to_all(sums, values, tokens, at):
        p, q, r, s = sums
        x, y, z, w = tokens
        for k in range(4):
            p = fma(values[k], load_f32x16(x + at + 64 * k), p)
            q = fma(values[k], load_f32x16(y + at + 64 * k), q)
            r = fma(values[k], load_f32x16(z + at + 64 * k), r)
            s = fma(values[k], load_f32x16(w + at + 64 * k), s)
        return p, q, r, s

    @inline
    def add_block_to_all(sums, values, tokens, at):
        p, q, r, s = sums
        x, y, z, w = tokens
        for k in range(2):
            p = fma(values[k], load_f32x16(x + at + 64 * k), p)
            q = fma(values[k], load_f32x16(y + at + 64 * k), q)
            r = fma(values[k], load_f32x16(z + at + 64 * k), r)
            s = fma(values[k], load_f32x16(w + at + 64 * k), s)
        return p, q, r, s

    @inline
    def dot_4(row, activation, a, b, c, d):
        columns = argument(activation, ACTIVATION_COLUMNS)
        rows = argument(activation, ACTIVATION_ROWS)
        tokens = (
            rows + 4 * columns * a,
            rows + 4 * columns * b,
            rows + 4 * columns * c,
            rows + 4 * columns * d,
        )
        sums, p, at = _start(), row, 0
        for _ in range(columns // 256):
            ask_ahead(p)
            weights, scales, minima = unpack(p)
            sums = add_to_all(sums, values_0(weights[0], scales, minima), tokens, at)
            sums = add_to_all(sums, values_1(weights[1], scales, minima), tokens, at + 256)
            sums = add_to_all(sums, values_2(weights[2], scales, minima), tokens, at + 512)
            sums = add_to_all(sums, values_3(weights[3], scales, minima), tokens, at + 768)
            p += size
            at += 1024
        if in_blocks:
            for _ in range(columns % 256 // 32):
                block, scale, minimum = unpack_block(p)
                sums = add_block_to_all(sums, block_values(block, scale, minimum), tokens, at)
                p += size // 8
                at += 128
        return sum_lanes(sums[0]), sum_lanes(sums[1]), sum_lanes(sums[2]), sum_lanes(sums[3])

    return dot_4
