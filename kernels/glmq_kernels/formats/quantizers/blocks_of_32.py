"""Weights to blocks of 32 of which each is written by itself."""

from __future__ import annotations

from typing import Any

from ...simd.addresses import argument, store_i64
from ...simd.vectors import zero_i32x16
from .arguments import QuantizeRows
from .source import larger, largest_lane, load_16, magnitude_bits


def make_quantize_32(write: Any, block_bytes: int) -> Any:
    """The kernel of `write(low, high, largest, out)`: 32 weights, and the bits of the largest, to a block."""

    def kernel(args, thread, threads):
        source, kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
        count, out = argument(args, QuantizeRows.N_WEIGHTS) // 32, argument(args, QuantizeRows.OUT)
        worst = zero_i32x16()
        for i in range(count):
            low, high = load_16(source, kind, 32 * i), load_16(source, kind, 32 * i + 16)
            largest = larger(magnitude_bits(low), magnitude_bits(high))
            worst = larger(worst, largest)
            write(low, high, largest_lane(largest), out + block_bytes * i)
        store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))

    return kernel
