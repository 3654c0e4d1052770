"""Products of each attention head with a matrix of its own."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.gemm.sizes import few, takes_bfloat
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_part import OUTPUTS_ONLY
from glmq_kernels.ops.batch_state import N_OUTPUTS, N_ROW_OUTPUTS
from glmq_kernels.ops.operands import matrix_of

from .blocks import dequantized, quantized_activation, random_weights, rounded_to_bfloat
from .runs import fill, floats, new_tape, run

FEW = few()
N_HEADS, REST, BESIDE = 3, 16, 9
"""Heads, columns of a head that are no part of the product, and columns of the output beside it."""

FORMS = [(name, "int8") for name in ("Q4_0", "Q8_0", "Q5_0", "Q4_K", "IQ4_NL", "MXFP4", "F16", "BF16", "F32")]
FORMS += [("Q8_0", "f32"), ("Q4_1", "f32")]


def run_heads(thread_pool, x, weights, rows, type_name, activations="int8", n_row_tokens=0, beside=BESIDE):
    """The products and what `gather_heads` leaves of each head: (n, N_HEADS, rows) and (n, N_HEADS, REST)."""
    n, columns = len(x), x.shape[2] - REST
    tape = new_tape(thread_pool, n, activations, n_row_tokens)
    source = operations.float_rows(tape, N_HEADS * (columns + REST))
    heads = operations.new_heads(tape, N_HEADS, columns)
    aside = operations.float_rows(tape, N_HEADS * (REST + 5))
    out = operations.float_rows(tape, N_HEADS * (rows + beside))
    matrix = matrix_of(weights, rows, columns, type_name)
    matrices = operations.HeadMatrices(matrix, N_HEADS, matrix.n_bytes)
    operations.gather_heads(
        tape, source, heads, n_heads=N_HEADS, source_columns=columns + REST, rest=(aside, REST + 5)
    )
    operations.multiply_heads(tape, heads, matrices, out, out_columns=rows + beside)
    fill(source, x)
    fill(out, np.full((n, N_HEADS, rows + beside), 7, np.float32))
    run(tape, thread_pool)
    result = floats(out, n, N_HEADS, rows + beside)
    assert (result[..., rows:] == 7).all(), "what stands beside a head's product stays"
    return result[..., :rows].copy(), floats(aside, n, N_HEADS, REST + 5)[..., 5:].copy()


def expected_products(x, weights, rows, type_name, activations="int8"):
    """In float64, of tokens in the row form and of those in panels."""
    matrices = dequantized(weights, type_name).reshape(N_HEADS, rows, -1)
    exact = activations == "f32" or KERNEL_TYPES[type_name].is_float
    flat = np.ascontiguousarray(x).reshape(len(x) * N_HEADS, -1)
    seen = (flat.astype(np.float64) if exact else quantized_activation(flat)).reshape(x.shape)
    return np.einsum("thc,hrc->thr", seen, matrices)


def assert_close(actual, expected, parts=3e-6):
    np.testing.assert_allclose(actual, expected, atol=parts * np.abs(expected).max(), rtol=0)


def sizes(type_name):
    """Rows and columns of a head's matrix."""
    return 75, 256 if KERNEL_TYPES[type_name].block == 256 else 96


@pytest.mark.parametrize(("type_name", "activations"), FORMS)
def test_both_forms_side_by_side(thread_pool, any_isa, type_name, activations):
    """Whatever stands beside it, a token of the row form has the bits that it has alone."""
    rng = np.random.default_rng(0)
    rows, columns = sizes(type_name)
    weights = random_weights(rng, N_HEADS * rows, columns, type_name)
    x = rng.standard_normal((FEW + 9, N_HEADS, columns + REST)).astype(np.float32)

    def products(first, last, n_row_tokens):
        return run_heads(thread_pool, x[first:last], weights, rows, type_name, activations, n_row_tokens)

    alone = np.concatenate([products(i, i + 1, 1)[0] for i in range(len(x))])
    expected = expected_products(x[..., :columns], weights, rows, type_name, activations)
    assert_close(alone, expected)
    in_panels = 1e-2 if takes_bfloat(type_name) else 3e-6
    for n, n_row_tokens in ((1, 0), (4, 2), (FEW, 0), (FEW + 1, 0), (FEW + 9, 3), (FEW + 9, FEW + 9)):
        found, rest = products(0, n, n_row_tokens)
        np.testing.assert_array_equal(found[:n_row_tokens], alone[:n_row_tokens])
        assert_close(found, expected[:n], in_panels if n - n_row_tokens > FEW else 3e-6)
        np.testing.assert_array_equal(rest, x[:n, :, columns:])


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_every_type(thread_pool, type_name):
    rng = np.random.default_rng(1)
    rows, columns = sizes(type_name)
    weights = random_weights(rng, N_HEADS * rows, columns, type_name)
    for n in (1, FEW + 3):
        x = rng.standard_normal((n, N_HEADS, columns + REST)).astype(np.float32)
        seen = x[..., :columns]
        if takes_bfloat(type_name) and n > FEW:
            seen = rounded_to_bfloat(seen).reshape(seen.shape)
        found, _ = run_heads(thread_pool, x, weights, rows, type_name)
        assert_close(found, expected_products(seen, weights, rows, type_name))


@pytest.mark.parametrize("rows", (1, 15, 16, 17, 31, 32, 33, 64))
@pytest.mark.parametrize("n_tokens", (1, FEW + 2))
def test_any_number_of_rows(thread_pool, n_tokens, rows):
    rng = np.random.default_rng(rows)
    weights = random_weights(rng, N_HEADS * rows, 64, "Q8_0")
    x = rng.standard_normal((n_tokens, N_HEADS, 64 + REST)).astype(np.float32)
    found, _ = run_heads(thread_pool, x, weights, rows, "Q8_0")
    assert_close(found, expected_products(x[..., :64], weights, rows, "Q8_0"))


@pytest.mark.parametrize("columns", (1, 7, 24, 40))
@pytest.mark.parametrize("n_tokens", (1, FEW + 2))
def test_heads_of_float_matrices_have_any_number_of_columns(thread_pool, n_tokens, columns):
    rng = np.random.default_rng(columns)
    weights = random_weights(rng, N_HEADS * 20, columns, "F16")
    x = rng.standard_normal((n_tokens, N_HEADS, columns + REST)).astype(np.float32)
    found, _ = run_heads(thread_pool, x, weights, 20, "F16")
    assert_close(found, expected_products(x[..., :columns], weights, 20, "F16"))


@pytest.mark.parametrize(("n_tokens", "n_row_tokens"), [(1, 0), (3, 1), (FEW + 9, 0), (FEW + 9, 4)])
@pytest.mark.parametrize("activations", ("int8", "f32"))
def test_a_product_prepared_for_the_next(thread_pool, any_isa, activations, n_tokens, n_row_tokens):
    """An activation as output is what `prepare_rows` makes of the same rows: the next product's bits are."""
    rng = np.random.default_rng(n_tokens)
    first = random_weights(rng, N_HEADS * 64, 96, "Q8_0")
    second = random_weights(rng, 40, N_HEADS * 64, "Q8_0")
    x = rng.standard_normal((n_tokens, N_HEADS * 96)).astype(np.float32)
    results = []
    for in_one in (True, False):
        tape = new_tape(thread_pool, n_tokens, activations, n_row_tokens)
        source, result = operations.float_rows(tape, N_HEADS * 96), operations.float_rows(tape, 40)
        heads = operations.new_heads(tape, N_HEADS, 96)
        between = operations.new_activation(tape, N_HEADS * 64)
        matrix = matrix_of(first, 64, 96, "Q8_0")
        matrices = operations.HeadMatrices(matrix, N_HEADS, matrix.n_bytes)
        operations.gather_heads(tape, source, heads, n_heads=N_HEADS, source_columns=96)
        operations.multiply_heads(tape, heads, matrices, between if in_one else between.rows, out_columns=64)
        if not in_one:
            operations.prepare_rows(tape, between)
        projection = operations.Projection(matrix_of(second, 40, N_HEADS * 64, "Q8_0"), result)
        operations.matmul(tape, between, projection)
        fill(source, x)
        run(tape, thread_pool)
        results.append(floats(result, n_tokens, 40).copy())
    assert results[0].any()
    np.testing.assert_array_equal(*results)


def test_matrices_of_heads_with_others_between(thread_pool):
    """As values behind keys in one tensor."""
    rng = np.random.default_rng(3)
    weights = random_weights(rng, N_HEADS * 50, 64, "Q4_0")
    x = rng.standard_normal((4, N_HEADS, 64)).astype(np.float32)
    tape = new_tape(thread_pool, 4)
    source, out = operations.float_rows(tape, N_HEADS * 64), operations.float_rows(tape, N_HEADS * 30)
    heads = operations.new_heads(tape, N_HEADS, 64)
    operations.gather_heads(tape, source, heads, n_heads=N_HEADS, source_columns=64)
    row_bytes = weights.shape[1]
    matrix = matrix_of(weights.reshape(-1)[20 * row_bytes :], 30, 64, "Q4_0")
    matrices = operations.HeadMatrices(matrix, N_HEADS, 50 * row_bytes)
    operations.multiply_heads(tape, heads, matrices, out, out_columns=30)
    fill(source, x)
    run(tape, thread_pool)
    expected = expected_products(x, weights, 50, "Q4_0")[..., 20:]
    assert_close(floats(out, 4, N_HEADS, 30), expected)


def test_only_as_many_tokens_as_there_are_outputs(thread_pool):
    rng = np.random.default_rng(4)
    weights = random_weights(rng, N_HEADS * 32, 32, "Q8_0")
    x = rng.standard_normal((7, N_HEADS, 32)).astype(np.float32)
    tape = new_tape(thread_pool, 7)
    tape.state[N_OUTPUTS], tape.state[N_ROW_OUTPUTS] = 2, 0
    source, out = operations.float_rows(tape, N_HEADS * 32), operations.float_rows(tape, N_HEADS * 32)
    heads = operations.new_heads(tape, N_HEADS, 32)
    matrix = matrix_of(weights, 32, 32, "Q8_0")
    part = OUTPUTS_ONLY
    operations.gather_heads(tape, source, heads, n_heads=N_HEADS, source_columns=32, part=part)
    matrices = operations.HeadMatrices(matrix, N_HEADS, matrix.n_bytes)
    operations.multiply_heads(tape, heads, matrices, out, out_columns=32, part=part)
    fill(source, x)
    run(tape, thread_pool)
    found = floats(out, 7, N_HEADS, 32)
    assert_close(found[:2], expected_products(x[:2], weights, 32, "Q8_0"))
    assert not found[2:].any()
