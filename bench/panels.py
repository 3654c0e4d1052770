"""What 32 rows cost in the panel form, to unpack and for each token; one thread, weights in L2.

python bench/panels.py [Q4_0 Q4_K Q8_0 ...]

Prints nanoseconds of 32 x 32 weights with 32, 192 and 512 tokens, and, from the last two, of each further
token and its multiply-adds per nanosecond.
"""

from __future__ import annotations

import ctypes
import sys
import time

import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.gemm.sizes import PANEL_BUFFER_BYTES, ROWS, panel_scratch_bytes, tile_count
from glmq_kernels.jit import isa
from glmq_kernels.jit.store import kernel
from glmq_kernels.ops.operands import Activation

COLUMNS = 4096
SIZES = (32, 192, 512)
TRIES = 150


def nanoseconds(type_name: str, n_tokens: int) -> float:
    """Of 32 x 32 weights with so many tokens, the best of many tries."""
    tiles = tile_count(n_tokens)
    activation = Activation(n_tokens, COLUMNS, tiles)
    activation.serve(type_name)
    row_bytes = KERNEL_TYPES[type_name].row_bytes(COLUMNS)
    weights = copy_of(np.random.default_rng(0).integers(0, 100, ROWS * row_bytes), np.uint8)
    scratch = aligned_zeros(panel_scratch_bytes() + PANEL_BUFFER_BYTES + ROWS * row_bytes)
    sums = aligned_zeros(4 * ROWS * tiles * isa.current().tile)
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 8)(kernel(f"gemm.gemm.multiply:{type_name}").address)
    arguments = (
        address_of(weights), row_bytes, ROWS, activation.address, 0, n_tokens, address_of(scratch),
        address_of(sums),
    )  # fmt: skip
    best = float("inf")
    for _ in range(TRIES):
        began = time.thread_time_ns()
        call(*arguments)
        best = min(best, (time.thread_time_ns() - began) / (COLUMNS / 32))
    return best


def main() -> None:
    """Print a row for each type."""
    print(f"| type | {' | '.join(map(str, SIZES))} | each token | multiply-adds |\n|{' --- |' * 6}")
    for type_name in sys.argv[1:] or ["Q4_0", "Q4_K", "Q5_K", "Q6_K", "Q8_0", "IQ4_XS"]:
        found = [nanoseconds(type_name, n) for n in SIZES]
        each = (found[-1] - found[-2]) / (SIZES[-1] - SIZES[-2])
        cells = " | ".join(f"{value:.0f}" for value in found)
        print(f"| {type_name} | {cells} | {each:.1f} | {32 * 32 / each:.0f} |", flush=True)


if __name__ == "__main__":
    main()
