"""Weights to Q8_0: 32 in a block, bit for bit as `gguf.quants` makes it.

Products and sums stay separate operations (never fused), and divisions are real divisions, because the
reference rounds after each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import inline
from ...simd.conversions import float_to_half, narrow_to_i8
from ...simd.vectors import splat_f32x8, splat_f32x16, store
from .blocks_of_32 import make_quantize_32
from .rounding import round_half_away
from .source import float_of_bits

BLOCK_BYTES = 34
INFINITY = np.float32(np.inf)


@inline
def _write(low, high, largest, out):
    scale = float_of_bits(largest) / np.float32(127.0)
    inverse = np.float32(1.0) / scale if scale > np.float32(0.0) else np.float32(0.0)
    if inverse == INFINITY:
        inverse = np.float32(0.0)
    factor = splat_f32x16(inverse)
    store(out, float_to_half(splat_f32x8(scale)))  # 16 bytes, all but 2 of them overwritten next
    store(out + 2, narrow_to_i8(round_half_away(low * factor)))
    store(out + 18, narrow_to_i8(round_half_away(high * factor)))


def quantize(type_name: str) -> Any:
    """Kernel: weights to blocks of 32."""
    return make_quantize_32(_write, BLOCK_BYTES)
