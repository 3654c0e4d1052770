"""How exact products of many tokens with quantized weights are, on the level of instructions in use.

python bench/product_errors.py [Q4_0 Q4_K Q6_K Q8_0 ...]

Prints for each type the norm of the error, against float64 products with the same weights, in parts of the
products' norm: of tokens of normal numbers, and of tokens some of whose columns are much larger than others.
"""

from __future__ import annotations

import sys

import gguf
import numpy as np
from glmq_kernels.formats.quantize import quantize_rows
from glmq_kernels.jit import isa
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_state import N_TOKENS
from glmq_kernels.ops.buffers import floats_of
from glmq_kernels.ops.operands import matrix_of
from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool

ROWS, COLUMNS, TOKENS = 256, 1024, 64


def product(pool: ThreadPool, weights: np.ndarray, type_name: str, x: np.ndarray) -> np.ndarray:
    """Float32 (tokens, rows), by the kernels."""
    tape = Tape(max_tokens=TOKENS, n_threads=pool.n_threads)
    tape.state[N_TOKENS] = TOKENS
    source, out = operations.new_activation(tape, COLUMNS), operations.float_rows(tape, ROWS)
    operations.prepare_rows(tape, source)
    matrix = matrix_of(weights, ROWS, COLUMNS, type_name)
    operations.matmul(tape, source, operations.Projection(matrix, out))
    tape.finish()
    floats_of(source.rows, TOKENS, COLUMNS)[:] = x
    tape.run(pool)
    return floats_of(out, TOKENS, ROWS)


def main() -> None:
    """Print a row for each type."""
    rng, pool = np.random.default_rng(0), ThreadPool(1)
    even = rng.standard_normal((TOKENS, COLUMNS)).astype(np.float32)
    uneven = even * np.exp(rng.standard_normal((1, COLUMNS))).astype(np.float32)
    print(f"| type, {isa.current().name} | normal | uneven |\n| --- | --- | --- |")
    for type_name in sys.argv[1:] or ["Q4_0", "Q4_K", "Q6_K", "Q8_0"]:
        weights = quantize_rows(0.02 * rng.standard_normal((ROWS, COLUMNS)).astype(np.float32), type_name)
        exact = gguf.quants.dequantize(weights, gguf.GGMLQuantizationType[type_name]).astype(np.float64)
        cells = []
        for x in (even, uneven):
            expected = x.astype(np.float64) @ exact.T
            error = np.linalg.norm(product(pool, weights, type_name, x) - expected)
            cells.append(f"{error / np.linalg.norm(expected):.4f}")
        print(f"| {type_name} | {' | '.join(cells)} |", flush=True)
    pool.close()


if __name__ == "__main__":
    main()
