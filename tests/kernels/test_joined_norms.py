"""Two rows of each token, each normalized, side by side."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.arrays import copy_of
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_state import N_ROW_TOKENS, N_TOKENS
from glmq_kernels.ops.operands import matrix_of

from .blocks import expected_product, random_weights
from .runs import fill, floats, new_tape, run

EPSILON = 1e-5


def rms_norm(x, weight):
    return x / np.sqrt((x * x).mean(axis=1, keepdims=True) + EPSILON) * weight


@pytest.mark.parametrize(("n", "n_rows"), ((1, 1), (5, 2), (20, 0)))
def test_products_with_both(any_isa, thread_pool, n, n_rows):
    rng = np.random.default_rng(0)
    columns = 48
    first, second = (rng.standard_normal((n, columns)).astype(np.float32) for _ in range(2))
    second[0] = 0  # before the first position
    weights = [copy_of(rng.standard_normal(columns), np.float32) for _ in range(2)]
    matrix = random_weights(rng, 40, 2 * columns, "Q8_0")
    tape = new_tape(thread_pool, n)
    rows = [operations.float_rows(tape, columns) for _ in range(2)]
    joined, out = operations.new_activation(tape, 2 * columns), operations.float_rows(tape, 40)
    both = (operations.NormedRows(*each) for each in zip(rows, weights, strict=True))
    operations.join_norms(tape, *both, EPSILON, joined)
    operations.matmul(tape, joined, operations.Projection(matrix_of(matrix, 40, 2 * columns, "Q8_0"), out))
    for memory, values in zip(rows, (first, second), strict=True):
        fill(memory, values)
    tape.state[N_TOKENS], tape.state[N_ROW_TOKENS] = n, n_rows
    run(tape, thread_pool)
    expected = np.hstack([rms_norm(x, weight) for x, weight in zip((first, second), weights, strict=True)])
    np.testing.assert_allclose(floats(joined.rows, n, 2 * columns), expected, rtol=1e-5, atol=1e-6)
    product = expected_product(expected.astype(np.float32), matrix, "Q8_0")
    np.testing.assert_allclose(floats(out, n, 40), product, atol=1e-4, rtol=1e-4)
