"""Products of a weight matrix with tokens, for every tensor type and level of instructions."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.arrays import address_of
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.gemm.sizes import few
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_state import N_TOKENS, TOKENS
from glmq_kernels.ops.operands import matrix_of
from glmq_kernels.threads.tape import Tape

from .blocks import HALF_FIELDS, dequantized, expected_product, quantized_activation, random_weights
from .runs import new_tape

FEW = few()
TOKEN_COUNTS = (1, 4, 9, 20, 33)  # up to FEW are multiplied row by row, more in panels


def run_matmul(thread_pool, x, weights, type_name, bias=None, start=None, activations="int8", n_row_tokens=0):
    """x W^T + bias, or start + x W^T, by the kernels. Gives float32 (n, rows).

    n_row_tokens: how many take the row form; up to FEW others do so too.
    """
    n, columns = x.shape
    rows = len(weights)
    tape = new_tape(thread_pool, n, activations, n_row_tokens)
    source = operations.new_activation(tape, columns)
    out = operations.float_rows(tape, rows)
    matrix = matrix_of(weights, rows, columns, type_name)
    operations.prepare_rows(tape, source)
    operations.matmul(tape, source, operations.Projection(matrix, out, bias), accumulate=start is not None)
    tape.finish()
    source.rows[: x.nbytes] = x.view(np.uint8).ravel()
    result = out[: n * rows * 4].view(np.float32).reshape(n, rows)
    if start is not None:
        result[:] = start
    tape.run(thread_pool)
    return result


def assert_close(actual, expected):
    np.testing.assert_allclose(actual, expected, atol=3e-6 * np.abs(expected).max() + 1e-12, rtol=0)


@pytest.mark.parametrize("n_tokens", TOKEN_COUNTS)
@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_equals_the_product_of_dequantized_weights(thread_pool, any_isa, type_name, n_tokens):
    rng = np.random.default_rng(n_tokens)
    columns = 512 if KERNEL_TYPES[type_name].block == 256 else 13 * 32  # blocks behind the last 256 too
    weights = random_weights(rng, 75, columns, type_name)
    x = rng.standard_normal((n_tokens, columns)).astype(np.float32)
    assert_close(run_matmul(thread_pool, x, weights, type_name), expected_product(x, weights, type_name))


MIXED = [(n, n_row_tokens) for n in range(1, 21) for n_row_tokens in {0, n // 2, n}]
MIXED += [(n + FEW, n) for n in range(1, 21)]
"""How many tokens, and how many of them in the row form: also with so many others that these take panels."""

FORMS = [(name, "int8") for name in ("Q4_0", "Q8_0", "Q4_K", "Q6_K", "F16")]
FORMS += [("Q4_1", "f32"), ("Q5_K", "f32")]


@pytest.mark.parametrize(("type_name", "activations"), FORMS)
def test_tokens_of_both_forms_side_by_side(thread_pool, type_name, activations):
    """Whatever stands beside it, a token of the row form has the bits that it has alone."""
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 45, 512, type_name)
    x = rng.standard_normal((20 + FEW, 512)).astype(np.float32)
    alone = np.concatenate(
        [
            run_matmul(thread_pool, x[i : i + 1], weights, type_name, activations=activations)
            for i in range(20)
        ]
    )
    exact = activations == "f32" or KERNEL_TYPES[type_name].is_float
    expected = (x if exact else quantized_activation(x)) @ dequantized(weights, type_name).T
    for n, n_row_tokens in MIXED:
        found = run_matmul(
            thread_pool, x[:n], weights, type_name, activations=activations, n_row_tokens=n_row_tokens
        )
        np.testing.assert_array_equal(found[:n_row_tokens], alone[:n_row_tokens])
        assert_close(found, expected[:n])


EACH_FORM_OF_ROWS = ("Q8_0", "Q5_K", "Q3_K", "IQ4_NL", "MXFP4", "IQ3_S", "IQ2_XS")
"""Types whose weights AVX2 reads ahead for one token, for two or not at all."""


@pytest.mark.parametrize("type_name", EACH_FORM_OF_ROWS)
def test_one_token_two_and_more_have_the_same_bits(thread_pool, any_isa, type_name):
    rng = np.random.default_rng(0)
    columns = 512 if KERNEL_TYPES[type_name].block == 256 else 13 * 32
    weights = random_weights(rng, 45, columns, type_name)
    x = rng.standard_normal((3, columns)).astype(np.float32)
    alone = np.concatenate([run_matmul(thread_pool, x[i : i + 1], weights, type_name) for i in range(3)])
    for n in (2, 3):
        found = run_matmul(thread_pool, x[:n], weights, type_name, n_row_tokens=n)
        np.testing.assert_array_equal(found, alone[:n])


@pytest.mark.parametrize("exponents", ((0, 4), (244, 252)))
def test_mxfp4_has_its_smallest_and_largest_powers_of_two(thread_pool, any_isa, exponents):
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 33, 288, "MXFP4").reshape(33, 9, 17)
    weights[:, :, 0] = rng.integers(*exponents, (33, 9))
    weights = weights.reshape(33, -1)
    x = rng.standard_normal((2, 288)).astype(np.float32) / 256
    for n in (1, 2):
        found = run_matmul(thread_pool, x[:n], weights, "MXFP4")
        assert_close(found, expected_product(x[:n], weights, "MXFP4"))


FLOAT_COLUMNS = (32, 224, 256, 288, 1120)


@pytest.mark.parametrize("type_name", [name for name, kind in KERNEL_TYPES.items() if not kind.is_float])
def test_float_activations_meet_every_type(thread_pool, type_name):
    """Exact products, of any number of columns and of the three forms for one, few and many tokens."""
    check_float_activations(thread_pool, type_name)


@pytest.mark.parametrize("type_name", ("Q8_0", "Q4_1", "Q6_K", "Q2_K", "IQ3_S", "IQ1_M"))
def test_float_activations_on_every_level(thread_pool, any_isa, type_name):
    """Types with each kind of groups, offsets and minima."""
    check_float_activations(thread_pool, type_name)


def check_float_activations(thread_pool, type_name):
    rng = np.random.default_rng(0)
    for columns in FLOAT_COLUMNS if KERNEL_TYPES[type_name].block == 32 else (256, 768):
        weights = random_weights(rng, 75, columns, type_name)
        for n_tokens in (1, 2, 4, 5, 13):
            x = rng.standard_normal((n_tokens, columns)).astype(np.float32)
            expected = x.astype(np.float64) @ dequantized(weights, type_name).T
            assert_close(run_matmul(thread_pool, x, weights, type_name, activations="f32"), expected)


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
@pytest.mark.parametrize("n_tokens", (1, 5, FEW + 3))
def test_long_rows_cross_the_stretches(thread_pool, type_name, n_tokens):
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 33, 2304, type_name)
    x = rng.standard_normal((n_tokens, 2304)).astype(np.float32)
    assert_close(run_matmul(thread_pool, x, weights, type_name), expected_product(x, weights, type_name))


@pytest.mark.parametrize("columns", (1, 7, 16, 63, 65, 300))
@pytest.mark.parametrize("n_tokens", (1, 5))
@pytest.mark.parametrize("type_name", ("F32", "F16", "BF16"))
def test_floats_take_any_number_of_columns(thread_pool, type_name, n_tokens, columns):
    rng = np.random.default_rng(columns)
    weights = random_weights(rng, 17, columns, type_name)
    x = rng.standard_normal((n_tokens, columns)).astype(np.float32)
    assert_close(run_matmul(thread_pool, x, weights, type_name), expected_product(x, weights, type_name))


@pytest.mark.parametrize("rows", (1, 15, 16, 17, 31, 32, 64))
@pytest.mark.parametrize("n_tokens", (1, 4, FEW + 1))
def test_any_number_of_rows(thread_pool, rows, n_tokens):
    rng = np.random.default_rng(rows)
    weights = random_weights(rng, rows, 96, "Q4_0")
    x = rng.standard_normal((n_tokens, 96)).astype(np.float32)
    assert_close(run_matmul(thread_pool, x, weights, "Q4_0"), expected_product(x, weights, "Q4_0"))


@pytest.mark.parametrize("byte", (0x80, 0x7F, 0xFF, 0x00))
@pytest.mark.parametrize(
    "type_name", ("Q8_0", "Q4_0", "Q4_1", "Q5_K", "Q6_K", "IQ4_XS", "Q2_K", "TQ2_0", "IQ3_S")
)
@pytest.mark.parametrize("n_tokens", (1, 6, FEW + 7))
def test_extreme_weights_and_activations_do_not_overflow(thread_pool, any_isa, type_name, byte, n_tokens):
    weights = random_weights(np.random.default_rng(0), 32, 256, type_name)
    kind = KERNEL_TYPES[type_name]
    blocks = weights.reshape(32, 256 // kind.block, kind.block_bytes)
    scales = [at + i for at in HALF_FIELDS[type_name] for i in range(2)]
    blocks[:, :, [i for i in range(kind.block_bytes) if i not in scales]] = byte
    x = np.ones((n_tokens, 256), np.float32)
    x[1::2] = -1.0
    actual = run_matmul(thread_pool, x, weights, type_name)
    # Offsets of up to 128 are taken off in float32: 128 * 256 columns * scale 0.02 * 2**-22.
    np.testing.assert_allclose(actual, expected_product(x, weights, type_name), atol=2e-4, rtol=1e-5)


@pytest.mark.parametrize("n_blocks", (1, 2, 3, 7, 9, 10, 15))
@pytest.mark.parametrize("n_tokens", (1, 7, FEW + 6))
@pytest.mark.parametrize("type_name", ("Q4_0", "Q5_1", "MXFP4"))
def test_any_number_of_blocks(thread_pool, type_name, n_tokens, n_blocks):
    rng = np.random.default_rng(n_blocks)
    weights = random_weights(rng, 21, 32 * n_blocks, type_name)
    x = rng.standard_normal((n_tokens, 32 * n_blocks)).astype(np.float32)
    assert_close(run_matmul(thread_pool, x, weights, type_name), expected_product(x, weights, type_name))


@pytest.mark.parametrize("n_tokens", (1, 3, 9))
def test_several_matrices_of_different_types_in_one_operation(thread_pool, n_tokens):
    """As q, k and v."""
    rng = np.random.default_rng(n_tokens)
    x = rng.standard_normal((n_tokens, 256)).astype(np.float32)
    tape = Tape(max_tokens=n_tokens, n_threads=thread_pool.n_threads)
    source = operations.new_activation(tape, 256)
    operations.prepare_rows(tape, source)
    parts = [(type_name, rows, random_weights(rng, rows, 256, type_name))
             for type_name, rows in (("Q4_K", 70), ("F16", 33), ("Q6_K", 8))]  # fmt: skip
    outs = [operations.float_rows(tape, rows) for _, rows, _ in parts]
    operations.matmul(
        tape,
        source,
        *(
            operations.Projection(matrix_of(data, rows, 256, type_name), out)
            for (type_name, rows, data), out in zip(parts, outs, strict=True)
        ),
    )
    tape.finish()
    source.rows[: x.nbytes] = x.view(np.uint8).ravel()
    tape.state[N_TOKENS] = n_tokens
    tape.run(thread_pool)
    for (type_name, rows, data), out in zip(parts, outs, strict=True):
        actual = out[: n_tokens * rows * 4].view(np.float32).reshape(n_tokens, rows)
        assert_close(actual, expected_product(x, data, type_name))


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_rows_of_the_embedding_are_the_dequantized_weights(thread_pool, any_isa, type_name):
    columns = 256 + (0 if KERNEL_TYPES[type_name].block == 256 else 96)
    weights = random_weights(np.random.default_rng(1), 5, columns, type_name)
    tokens = np.array([3, 0, 4], np.int64)
    tape = Tape(max_tokens=3, n_threads=thread_pool.n_threads)
    out = operations.float_rows(tape, columns)
    operations.embed(tape, matrix_of(weights, 5, columns, type_name), out)
    tape.finish()
    tape.state[N_TOKENS], tape.state[TOKENS] = 3, address_of(tokens)
    tape.run(thread_pool)
    actual = out[: 3 * columns * 4].view(np.float32).reshape(3, columns)
    expected = dequantized(weights, type_name)[tokens]
    np.testing.assert_allclose(actual, expected, atol=1e-6 * np.abs(expected).max())


@pytest.mark.parametrize("n_tokens", (1, 7, FEW + 3))
def test_bias_is_added_and_accumulation_adds_to_what_is_there(thread_pool, n_tokens):
    rng = np.random.default_rng(5)
    weights = random_weights(rng, 70, 64, "Q8_0")
    x = rng.standard_normal((n_tokens, 64)).astype(np.float32)
    bias = rng.standard_normal(70).astype(np.float32)
    start = rng.standard_normal((n_tokens, 70)).astype(np.float32)
    product = expected_product(x, weights, "Q8_0")
    assert_close(run_matmul(thread_pool, x, weights, "Q8_0", bias=bias), product + bias)
    assert_close(run_matmul(thread_pool, x, weights, "Q8_0", start=start), start + product)


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_quantized_activations_cost_less_than_a_hundredth(thread_pool, type_name):
    rng = np.random.default_rng(1)
    weights = random_weights(rng, 64, 1024, type_name)
    x = rng.standard_normal((3, 1024)).astype(np.float32)
    exact = x.astype(np.float64) @ dequantized(weights, type_name).T
    error = run_matmul(thread_pool, x, weights, type_name) - exact
    assert np.linalg.norm(error) < 0.01 * np.linalg.norm(exact)


def test_a_row_of_zeros_gives_zeros(thread_pool, any_isa):
    weights = random_weights(np.random.default_rng(0), 32, 64, "Q4_0")
    assert not run_matmul(thread_pool, np.zeros((1, 64), np.float32), weights, "Q4_0").any()
