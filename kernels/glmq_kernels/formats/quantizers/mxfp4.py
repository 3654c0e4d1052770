"""MXFP4: blocks of 32 weights with a power of two as scale (Open Compute Project, MX formats 1.0).

What is stored where: `formats/unpack/mxfp4.py`. The scale is the one for which the largest magnitude lies
between 4 and 8, of two equally near values the smaller magnitude is taken, as in llama.cpp.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from gguf.quants import MXFP4

from ...simd.addresses import argument, inline, store_i64, store_u8
from ...simd.comparisons import greater, select
from ...simd.conversions import narrow_to_i8
from ...simd.vectors import i32x16, make_constant, splat_f32x16, splat_i32x16, store, zero_f32x16, zero_i32x16
from .arguments import QuantizeRows
from .lanes import magnitude
from .source import float_of_bits, larger, largest_lane, load_16, magnitude_bits

BLOCK_BYTES = 17
MAGNITUDES = [int(value) for value in MXFP4.kvalues[:8]]
MIDDLES = tuple(np.float32((a + b) / 2) for a, b in pairwise(MAGNITUDES))
four = make_constant(i32x16, [4] * 16)


@inline
def _codes(v, scale):
    """Sixteen codes: how many middles between values are below a magnitude, and 8 where it is negative."""
    found, zero, one = zero_i32x16(), zero_f32x16(), splat_i32x16(1)
    for middle in MIDDLES:
        is_above = greater(magnitude(v), splat_f32x16(middle * scale))
        found = found + select(is_above, one, zero_i32x16())
    is_negative = greater(zero, v) & greater(found, zero_i32x16())
    return found | select(is_negative, splat_i32x16(8), zero_i32x16())


@inline
def _write(low, high, largest, out):
    exponent = max(np.int64(largest >> 23) - 2, 0)
    # 2**(exponent - 128), half of the scale that the exponent stands for; the values are twice as large.
    bits = (exponent - 1) << 23 if exponent > 1 else 0x00200000 << exponent
    scale = float_of_bits(np.int32(bits))
    store_u8(out, np.uint8(exponent))
    store(out + 1, narrow_to_i8(_codes(low, scale) | (_codes(high, scale) << four())))


def quantize(type_name: str) -> Any:
    """Kernel: weights to blocks of 32."""

    def kernel(args, thread, threads):
        source, kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
        count, out = argument(args, QuantizeRows.N_WEIGHTS) // 32, argument(args, QuantizeRows.OUT)
        worst = zero_i32x16()
        for i in range(count):
            low, high = load_16(source, kind, 32 * i), load_16(source, kind, 32 * i + 16)
            largest = larger(magnitude_bits(low), magnitude_bits(high))
            worst = larger(worst, largest)
            _write(low, high, largest_lane(largest), out + BLOCK_BYTES * i)
        store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))

    return kernel
