"""What 256 weights cost in the row form, to unpack and for each token; one thread, weights in L2.

python bench/few_tokens.py [Q4_0 Q4_K Q8_0 ...]

Prints nanoseconds for 1, 2, 4 and 8 tokens and the line through them: a fixed part and one for each token.
What a type can be transcoded to is measured after it.
"""

from __future__ import annotations

import ctypes
import sys
import time

import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of, zeros
from glmq_kernels.formats.tensor_types import MATRIX_TYPES, TRANSCODED_TYPES
from glmq_kernels.gemm.sizes import ROW_SCRATCH_BYTES, ROW_TOKENS, ROWS
from glmq_kernels.jit.store import kernel
from glmq_kernels.ops.operands import Activation

COLUMNS = 4096
SIZES = (1, 2, 4, 8)
CALLS = 400
TRIES = 9
UNITS = ROWS * COLUMNS // 256


def nanoseconds(type_name: str, n_tokens: int) -> float:
    """Of 256 weights with so many tokens, the best of several tries, less what a call from Python costs."""
    activation = Activation(ROW_TOKENS, COLUMNS, 2)
    activation.serve(type_name)
    row_bytes = MATRIX_TYPES[type_name].row_bytes(COLUMNS)
    weights = copy_of(np.random.default_rng(0).integers(0, 100, ROWS * row_bytes), np.uint8)
    numbers, out = copy_of(range(ROW_TOKENS), np.int64), zeros((ROW_TOKENS, ROWS), np.float32)
    scratch = aligned_zeros(ROW_SCRATCH_BYTES)
    code = kernel(f"gemm.gemv.dot_rows:{type_name}")
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 8)(code.address)

    def best_call(n_rows: int) -> float:
        arguments = (
            address_of(weights), row_bytes, n_rows, activation.address, address_of(numbers), n_tokens,
            address_of(out), address_of(scratch),
        )  # fmt: skip
        best = float("inf")
        for _ in range(TRIES):
            began = time.thread_time_ns()
            for _ in range(CALLS):
                call(*arguments)
            best = min(best, (time.thread_time_ns() - began) / CALLS)
        return best

    return (best_call(ROWS) - best_call(0)) / UNITS


def _transcoded(type_name: str) -> list[str]:
    return [TRANSCODED_TYPES[type_name].name] if type_name in TRANSCODED_TYPES else []


def main() -> None:
    """Print a row for each type."""
    print(f"| type | {' | '.join(map(str, SIZES))} | fixed | each token |\n|{' --- |' * 7}")
    asked = sys.argv[1:] or ["Q4_0", "Q4_K", "Q8_0"]
    for type_name in (name for one in asked for name in (one, *_transcoded(one))):
        found = [nanoseconds(type_name, n) for n in SIZES]
        each, fixed = np.polyfit(SIZES, found, 1)
        cells = " | ".join(f"{value:.1f}" for value in (*found, fixed, each))
        print(f"| {type_name} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
