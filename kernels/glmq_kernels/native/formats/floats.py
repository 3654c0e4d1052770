"""What the formats without blocks share."""

from __future__ import annotations

from typing import Any

from ..memory import inline, load_f32, prefetch, store_f32
from ..simd import fma, load_f32x16, sum_lanes, zero_f32x16

PREFETCH_BYTES = 2048


def make_dot_row(load_16: Any, load_1: Any, width: int) -> Any:
    """`dot_row` of a float format (see this package)."""

    @inline
    def dot_row(row, x, columns):
        a, b, c, d = zero_f32x16(), zero_f32x16(), zero_f32x16(), zero_f32x16()
        i = 0
        while i + 64 <= columns:
            p = row + i * width
            for line in range(width):
                prefetch(p + PREFETCH_BYTES + 64 * line)
            a = fma(load_16(p), load_f32x16(x + 4 * i), a)
            b = fma(load_16(p + 16 * width), load_f32x16(x + 4 * i + 64), b)
            c = fma(load_16(p + 32 * width), load_f32x16(x + 4 * i + 128), c)
            d = fma(load_16(p + 48 * width), load_f32x16(x + 4 * i + 192), d)
            i += 64
        while i + 16 <= columns:
            a = fma(load_16(row + i * width), load_f32x16(x + 4 * i), a)
            i += 16
        result = sum_lanes((a + b) + (c + d))
        while i < columns:
            result += load_1(row + i * width) * load_f32(x + 4 * i)
            i += 1
        return result

    return dot_row


def make_dequantize_row(load_1: Any, width: int) -> Any:
    """`dequantize_row` of a float format (see this package)."""

    @inline
    def dequantize_row(row, out, columns):
        for i in range(columns):
            store_f32(out + 4 * i, load_1(row + i * width))

    return dequantize_row
