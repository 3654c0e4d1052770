"""Weights to Q8_0: 32 in a block, bit for bit as `gguf.quants` makes it.

Products and sums stay separate operations (never fused), and divisions are real divisions, because the
reference rounds after each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import argument, inline, store_i64
from ...simd.conversions import float_to_half, narrow_to_i8
from ...simd.vectors import splat_f32x8, splat_f32x16, store, zero_i32x16
from .arguments import QuantizeRows
from .rounding import round_half_away
from .source import float_of_bits, larger, largest_lane, load_16, magnitude_bits

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
