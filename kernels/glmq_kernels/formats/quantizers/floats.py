"""Weights to float types: rounded to nearest, ties to even."""

from __future__ import annotations

from typing import Any

from ...simd.addresses import argument, inline, store_i64
from ...simd.conversions import float_to_bfloat, float_to_half
from ...simd.vectors import store, zero_i32x16
from .arguments import QuantizeRows
from .source import larger, largest_lane, load_16, magnitude_bits


@inline
def _f32(v, out):
    store(out, v)


@inline
def _f16(v, out):
    store(out, float_to_half(v))


@inline
def _bf16(v, out):
    store(out, float_to_bfloat(v))


WRITERS = {"F32": (_f32, 64), "F16": (_f16, 32), "BF16": (_bf16, 32)}


def quantize(type_name: str) -> Any:
    """Kernel: weights, a multiple of 16, to a float type."""
    write, vector_bytes = WRITERS[type_name]

    def kernel(args, thread, threads):
        source, kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
        count, out = argument(args, QuantizeRows.N_WEIGHTS) // 16, argument(args, QuantizeRows.OUT)
        worst = zero_i32x16()
        for i in range(count):
            v = load_16(source, kind, 16 * i)
            worst = larger(worst, magnitude_bits(v))
            write(v, out + vector_bytes * i)
        store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))

    return kernel
