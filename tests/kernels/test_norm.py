from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_part import OUTPUTS_ONLY
from glmq_kernels.ops.batch_state import N_OUTPUTS

from .runs import fill, floats, new_tape, padded, run


def rms_norm(x, weight, epsilon):
    return x / np.sqrt((x.astype(np.float64) ** 2).mean(axis=1, keepdims=True) + epsilon) * weight


@pytest.mark.parametrize("columns", (32, 48, 100, 4096))
@pytest.mark.parametrize("n_tokens", (1, 2, 9))
def test_rms_norm(thread_pool, any_isa, n_tokens, columns):
    rng = np.random.default_rng(columns)
    x = rng.standard_normal((n_tokens, columns)).astype(np.float32) * 3
    weight = padded(rng.standard_normal(columns).astype(np.float32))
    tape = new_tape(thread_pool, n_tokens)
    source = operations.float_rows(tape, columns)
    out = operations.new_activation(tape, columns)
    operations.rms_norm(tape, source, weight, 1e-5, out)
    fill(source, x)
    run(tape, thread_pool)
    np.testing.assert_allclose(
        floats(out.rows, n_tokens, columns), rms_norm(x, weight, 1e-5), rtol=2e-6, atol=1e-6
    )


def test_only_as_many_rows_as_there_are_outputs(thread_pool):
    x = np.random.default_rng(0).standard_normal((7, 64)).astype(np.float32)
    tape = new_tape(thread_pool, 7)
    tape.state[N_OUTPUTS] = 2
    source = operations.float_rows(tape, 64)
    out = operations.new_activation(tape, 64)
    operations.rms_norm(tape, source, padded(np.ones(64, np.float32)), 1e-5, out, OUTPUTS_ONLY)
    fill(source, x)
    run(tape, thread_pool)
    found = floats(out.rows, 7, 64)
    np.testing.assert_allclose(found[:2], rms_norm(x[:2], 1, 1e-5), rtol=2e-6, atol=1e-6)
    assert not found[2:].any()


def test_a_row_of_zeros_stays_zero(thread_pool):
    tape = new_tape(thread_pool, 1)
    source = operations.float_rows(tape, 64)
    out = operations.new_activation(tape, 64)
    operations.rms_norm(tape, source, padded(np.ones(64, np.float32)), 1e-5, out)
    run(tape, thread_pool)
    assert not floats(out.rows, 64).any()
