"""MXFP4: blocks of 32 weights with a power of two as scale (Open Compute Project, MX formats 1.0).

What is stored where: `formats/unpack/mxfp4.py`. The scale is the one for which the largest magnitude lies
between 4 and 8, of two equally near values the smaller magnitude is taken, as in llama.cpp.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from gguf.quants import MXFP4

from ...simd.addresses import inline, store_u8
from ...simd.comparisons import greater, select
from ...simd.conversions import narrow_to_i8
from ...simd.vectors import i32x16, make_constant, splat_f32x16, splat_i32x16, store, zero_f32x16, zero_i32x16
from .blocks_of_32 import make_quantize_32
from .lanes import magnitude
from .source import float_of_bits

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
    return make_quantize_32(_write, BLOCK_BYTES)
