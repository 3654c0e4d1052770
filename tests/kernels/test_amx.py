"""Products of many tokens by AMX, in bfloat16: the level that differs from AVX-512 in nothing else.

Types that other levels than the best leave out are left out of brief runs here too (`tests/conftest.py`).
"""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.gemm.sizes import few
from glmq_kernels.jit import isa
from glmq_kernels.threads.thread_pool import ThreadPool

from .blocks import dequantized, expected_product, random_weights
from .test_feed_forward import Layer
from .test_matmul import run_matmul

pytestmark = [
    pytest.mark.skipif("amx" not in isa.levels(), reason="the processor has no AMX"),
    pytest.mark.parametrize("any_isa", ["amx"], indirect=True),
]

IN_BFLOAT = [name for name, kind in KERNEL_TYPES.items() if not kind.is_float or name == "BF16"]


@pytest.fixture(scope="module")
def one_thread():
    """A single thread takes as many rows at once as there can be."""
    pool = ThreadPool(1)
    yield pool
    pool.close()


def in_bfloat(values):
    """Values rounded to bfloat16, nearest even, as float64."""
    bits = np.asarray(values, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).view(np.float32).astype(np.float64)


def product_in_bfloat(x, weights, type_name):
    return in_bfloat(x) @ in_bfloat(dequantized(weights, type_name)).T


def assert_close(actual, expected, error=1e-4):
    """But for weights next to the middle between two bfloat16; to round none of them costs 20 times that."""
    assert np.linalg.norm(actual - expected) < error * np.linalg.norm(expected)


@pytest.mark.parametrize("type_name", IN_BFLOAT)
def test_equals_the_product_of_rounded_weights_and_tokens(one_thread, any_isa, type_name):
    """Rows of several units of 128, columns of two stretches, tiles in twos, alone and in part."""
    rng = np.random.default_rng(0)
    for rows, columns, n_tokens in ((300, 768, 40), (45, 256, 9), (17, 1280, 33)):
        if KERNEL_TYPES[type_name].block == 32:
            columns += 96
        weights = random_weights(rng, rows, columns, type_name)
        x = rng.standard_normal((n_tokens, columns)).astype(np.float32)
        found = run_matmul(one_thread, x, weights, type_name)
        assert_close(found, product_in_bfloat(x, weights, type_name))


@pytest.mark.parametrize("columns", (1, 31, 33, 127, 129, 513, 1000))
def test_bfloat_rows_of_any_length(thread_pool, any_isa, columns):
    rng = np.random.default_rng(columns)
    weights = random_weights(rng, 47, columns, "BF16")
    x = rng.standard_normal((17, columns)).astype(np.float32)
    assert_close(run_matmul(thread_pool, x, weights, "BF16"), product_in_bfloat(x, weights, "BF16"), 1e-6)


@pytest.mark.parametrize("columns", (32, 64, 224, 256, 288, 544))
def test_rows_that_fill_no_256_columns(thread_pool, any_isa, columns):
    rng = np.random.default_rng(columns)
    weights = random_weights(rng, 35, columns, "Q4_1")
    x = rng.standard_normal((20, columns)).astype(np.float32)
    assert_close(run_matmul(thread_pool, x, weights, "Q4_1"), product_in_bfloat(x, weights, "Q4_1"))


@pytest.mark.parametrize(("type_name", "activations"), (("F16", "int8"), ("F32", "int8"), ("Q4_1", "f32")))
def test_float32_products_stay_exact(thread_pool, one_thread, any_isa, type_name, activations):
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 300, 288, type_name)
    x = rng.standard_normal((39, 288)).astype(np.float32)
    expected = x.astype(np.float64) @ dequantized(weights, type_name).T
    for pool in (thread_pool, one_thread):
        for n_tokens in (9, 17, 22, 39):
            found = run_matmul(pool, x[:n_tokens], weights, type_name, activations=activations)
            assert_close(found, expected[:n_tokens], 1e-6)


def test_tokens_of_the_row_form_have_the_bits_of_avx512(one_thread, any_isa, monkeypatch):
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 200, 512, "Q6_K")
    x = rng.standard_normal((40, 512)).astype(np.float32)
    found = run_matmul(one_thread, x, weights, "Q6_K", n_row_tokens=11)
    assert_close(found[:11], expected_product(x[:11], weights, "Q6_K"), 1e-6)
    assert_close(found[11:], product_in_bfloat(x[11:], weights, "Q6_K"))
    monkeypatch.setenv("GLMQ_ISA", "avx512")
    np.testing.assert_array_equal(found[:11], run_matmul(one_thread, x[:11], weights, "Q6_K"))


def test_bias_and_accumulation(one_thread, any_isa):
    rng = np.random.default_rng(5)
    weights, x = random_weights(rng, 140, 64, "Q8_0"), rng.standard_normal((20, 64)).astype(np.float32)
    bias = rng.standard_normal(140).astype(np.float32)
    start = rng.standard_normal((20, 140)).astype(np.float32)
    product = product_in_bfloat(x, weights, "Q8_0")
    assert_close(run_matmul(one_thread, x, weights, "Q8_0", bias=bias), product + bias)
    assert_close(run_matmul(one_thread, x, weights, "Q8_0", start=start), start + product)


@pytest.mark.parametrize("value", (np.nan, np.inf, -np.inf))
def test_what_is_not_finite_shows_in_its_own_token(thread_pool, any_isa, value):
    rng = np.random.default_rng(0)
    weights, x = random_weights(rng, 40, 256, "Q8_0"), rng.standard_normal((20, 256)).astype(np.float32)
    x[7, 100] = value
    found = run_matmul(thread_pool, x, weights, "Q8_0")
    others = np.arange(20) != 7
    assert not np.isfinite(found[7]).any()
    assert_close(found[others], product_in_bfloat(x[others], weights, "Q8_0"))


@pytest.mark.parametrize("n_experts", (2, 9))
def test_experts_and_a_dense_network(one_thread, thread_pool, any_isa, n_experts):
    """Some experts' tokens take panels and others rows; every token's output is as without rounding.

    Either rounding costs less than a hundredth; a token in a wrong place would cost all.
    """
    most = few() * n_experts + 20
    exact = Layer(np.random.default_rng(n_experts), one_thread, most, n_experts, "f32").expected
    for pool in (one_thread, thread_pool):
        layer = Layer(np.random.default_rng(n_experts), pool, most, n_experts, "int8")
        for n, n_row_tokens in ((most, 0), (most, 5), (most - 3, 20)):
            error = np.linalg.norm(layer(range(n), n_row_tokens) - exact[:n], axis=1)
            assert (error < 0.015 * np.linalg.norm(exact[:n], axis=1)).all()
