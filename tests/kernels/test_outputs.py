"""From the last layer's attention on only the tokens with outputs."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.arrays import address_of, copy_of
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_part import LOGITS_ONLY, OUTPUTS_ONLY
from glmq_kernels.ops.batch_state import (
    LOGIT_OUTPUTS,
    N_LOGITS,
    N_OUTPUTS,
    N_ROW_LOGITS,
    N_ROW_OUTPUTS,
    OUTPUTS,
)
from glmq_kernels.ops.operands import matrix_of

from .blocks import expected_product, random_weights
from .runs import fill, floats, new_tape, run


@pytest.mark.parametrize(
    ("tokens", "n_row_outputs"), (([6], 1), ([0, 3, 19, 5], 2), (range(2, 20), 1), ([], 0))
)
def test_products_with_rows_of_the_outputs(thread_pool, tokens, n_row_outputs):
    """Those that are added to the stream, in the order in which outputs are wanted."""
    rng = np.random.default_rng(0)
    x, attended = (rng.standard_normal((20, columns)).astype(np.float32) for columns in (40, 64))
    weights = random_weights(rng, 40, 64, "Q8_0")
    tape = new_tape(thread_pool, 20)
    stream, stream_out = (operations.float_rows(tape, 40) for _ in range(2))
    source, source_out = (operations.new_activation(tape, 64) for _ in range(2))
    operations.gather_outputs(tape, stream, 40, stream_out, barrier=False)
    operations.gather_outputs(tape, source.rows, 64, source_out)
    projection = operations.Projection(matrix_of(weights, 40, 64, "Q8_0"), stream_out)
    operations.matmul(tape, source_out, projection, accumulate=True, part=OUTPUTS_ONLY)
    fill(stream, x)
    fill(source.rows, attended)
    outputs = copy_of(list(tokens), np.int64)
    tape.state[N_OUTPUTS], tape.state[N_ROW_OUTPUTS] = len(outputs), n_row_outputs
    tape.state[OUTPUTS] = address_of(outputs)
    run(tape, thread_pool)
    expected = (x + expected_product(attended, weights, "Q8_0"))[outputs]
    found = floats(stream_out, 20, 40)
    np.testing.assert_allclose(found[: len(outputs)], expected, atol=1e-5, rtol=1e-5)
    assert not found[len(outputs) :].any()


@pytest.mark.parametrize(("outputs", "n_row_logits"), (([6], 1), ([0, 3, 19, 5], 2), (range(2, 20), 0)))
def test_products_with_the_outputs_that_want_logits(thread_pool, outputs, n_row_logits):
    rng = np.random.default_rng(0)
    x, weights = rng.standard_normal((20, 64)).astype(np.float32), random_weights(rng, 40, 64, "Q8_0")
    tape = new_tape(thread_pool, 20)
    source, wanted = (operations.new_activation(tape, 64) for _ in range(2))
    out = operations.float_rows(tape, 40)
    operations.gather_logit_rows(tape, source, wanted)
    projection = operations.Projection(matrix_of(weights, 40, 64, "Q8_0"), out)
    operations.matmul(tape, wanted, projection, part=LOGITS_ONLY)
    fill(source.rows, x)
    table = copy_of(list(outputs), np.int64)
    tape.state[N_LOGITS], tape.state[N_ROW_LOGITS] = len(table), n_row_logits
    tape.state[LOGIT_OUTPUTS] = address_of(table)
    run(tape, thread_pool)
    expected = expected_product(x, weights, "Q8_0")[table]
    np.testing.assert_allclose(floats(out, 20, 40)[: len(table)], expected, atol=1e-5, rtol=1e-5)
