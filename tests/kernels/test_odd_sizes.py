"""Sizes that fill no vector, block or tile: nothing is read or written past the end of any array.

Every array ends at an unreadable page here (`conftest.py`), the weights' last row included.
"""

from __future__ import annotations

import sys

import numpy as np
import pytest
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of, zeros
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_state import N_TOKENS, TOKENS
from glmq_kernels.ops.operands import matrix_of
from glmq_kernels.threads.tape import Tape

from .blocks import dequantized, expected_product, random_weights
from .runs import floats, run
from .test_feed_forward import check_routed
from .test_matmul import run_matmul

ROWS_AND_TOKENS = ((1, 1), (5, 2), (17, 3), (33, 5), (3, 13), (47, 7))


def column_counts(type_name):
    """Widths that a tensor type can have."""
    kind = KERNEL_TYPES[type_name]
    if kind.is_float:
        return (1, 3, 15, 16, 17, 31, 33, 63, 65, 100, 257)
    return (32, 64, 224, 256, 288, 544) if kind.block == 32 else (256, 512, 768)


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux what lies behind")
@pytest.mark.parametrize("n_bytes", (0, 1, 4, 64, 4095, 4096, 4097))
def test_the_page_behind_an_array_is_unreadable(n_bytes):
    with open("/proc/self/maps") as maps:
        memory = aligned_zeros(n_bytes)
        end = address_of(memory) + n_bytes
        behind = [line for line in maps if line.startswith(f"{end:x}-")]
    assert len(memory) == n_bytes
    assert end % 4096 == 0
    assert behind[0].split()[1].startswith("---")
    assert not memory.any()


def test_arrays_are_what_is_asked_for():
    values = copy_of([[1, 2], [3, 4]], np.int64)
    assert values.tolist() == [[1, 2], [3, 4]]
    assert zeros((2, 3), np.float32).shape == (2, 3)


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_products(thread_pool, any_isa, type_name):
    rng = np.random.default_rng(0)
    for columns in column_counts(type_name):
        for rows, n_tokens in ROWS_AND_TOKENS:
            weights = random_weights(rng, rows, columns, type_name)
            x = rng.standard_normal((n_tokens, columns)).astype(np.float32)
            bias = copy_of(rng.standard_normal(rows), np.float32)
            expected = expected_product(x, weights, type_name) + bias
            found = run_matmul(thread_pool, x, weights, type_name, bias=bias)
            size = np.abs(x) @ np.abs(dequantized(weights, type_name)).T + np.abs(bias)
            assert (np.abs(found - expected) < 3e-6 * size + 1e-12).all(), (columns, rows, n_tokens)


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_rows_of_an_embedding(thread_pool, any_isa, type_name):
    rng = np.random.default_rng(0)
    for columns in column_counts(type_name):
        weights = random_weights(rng, 5, columns, type_name)
        tokens = copy_of([4, 0, 4], np.int64)
        tape = Tape(max_tokens=3, n_threads=thread_pool.n_threads)
        out = aligned_zeros(3 * columns * 4)
        operations.embed(tape, matrix_of(weights, 5, columns, type_name), out)
        tape.state[N_TOKENS], tape.state[TOKENS] = 3, address_of(tokens)
        run(tape, thread_pool)
        expected = dequantized(weights, type_name)[[4, 0, 4]]
        np.testing.assert_allclose(floats(out, 3, columns), expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("n_tokens", (1, 2, 3, 7, 30))
def test_routed_experts(thread_pool, any_isa, n_tokens):
    for columns, width in ((33, 17), (47, 50), (96, 1)):
        check_routed(thread_pool, n_tokens, width, "F32", n_experts=3, top_k=2, columns=columns)
    for columns, width in ((32, 96), (288, 32)):
        check_routed(thread_pool, n_tokens, width, "Q8_0", n_experts=3, top_k=2, columns=columns)
