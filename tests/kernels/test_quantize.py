"""Weights as blocks of every type but those of grids: the very bytes that llama.cpp writes."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from glmq_kernels.arrays import copy_of
from glmq_kernels.formats.quantize import NEEDS_IMPORTANCE, TARGET_TYPES, UnfitWeightError, quantize_rows
from glmq_kernels.formats.quantizers.table import QUANTIZERS
from hypothesis import given, settings
from hypothesis import strategies as st

GOLDEN = Path(__file__).parent.parent / "golden" / "quantize.npz"

FAST = ("Q4_0", "Q8_0", "Q4_K", "Q6_K", "IQ4_XS", "MXFP4")
"""A type of each family. The kernels of the others, which take long to compile, are for `make test-full`."""
SLOW = ("Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q5_K", "IQ4_NL", "TQ1_0", "TQ2_0")
TYPES = FAST + SLOW
each_type = pytest.mark.parametrize(
    "name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]
)


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as file:
        return {name: file[name] for name in file}


@pytest.fixture(scope="module")
def weights(golden):
    return copy_of(golden["weights"], np.float32)


@pytest.fixture(scope="module")
def importance(golden):
    return copy_of(golden["importance"], np.float32)


def dequantized(blocks: np.ndarray, name: str) -> np.ndarray:
    return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[name])


@each_type
def test_blocks_are_those_of_llama_cpp(golden, weights, name):
    np.testing.assert_array_equal(quantize_rows(weights, name), golden[name])


@each_type
def test_blocks_with_importance_are_those_of_llama_cpp(golden, weights, importance, name):
    if not QUANTIZERS[name].uses_importance:
        pytest.skip(f"{name} has no use for importance")
    found = quantize_rows(weights, name, importance=importance)
    np.testing.assert_array_equal(found, golden[f"{name} weighed"])
    assert not np.array_equal(found, golden[name])


@each_type
def test_rows_are_independent_of_those_beside_them(weights, importance, name):
    for i in range(len(weights)):
        for q in (None, importance):
            alone = quantize_rows(copy_of(weights[i : i + 1], np.float32), name, importance=q)
            np.testing.assert_array_equal(alone[0], quantize_rows(weights, name, importance=q)[i])


@each_type
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sources_of_sixteen_bits_give_the_same_as_their_floats(weights, importance, name, dtype):
    if dtype == "float16":
        halves = copy_of(weights, np.float16)
        floats = copy_of(halves, np.float32)
    else:
        halves = copy_of(weights.view(np.uint32) >> 16, np.uint16)
        floats = copy_of((halves.astype(np.uint32) << 16).view(np.float32), np.float32)
    expected = quantize_rows(floats, name, importance=importance)
    np.testing.assert_array_equal(quantize_rows(halves, name, importance=importance), expected)


@each_type
def test_zeros_stay_zeros(importance, name):
    zeros = copy_of(np.zeros((1, 768)), np.float32)
    for q in (None, importance):
        assert not dequantized(quantize_rows(zeros, name, importance=q), name).any()


@each_type
def test_where_no_column_has_importance_all_have_the_same(weights, name):
    nothing, same = copy_of(np.zeros(768), np.float32), copy_of(np.ones(768), np.float32)
    found = quantize_rows(weights, name, importance=nothing)
    np.testing.assert_array_equal(found, quantize_rows(weights, name, importance=same))


@each_type
def test_columns_without_importance_are_not_lost(weights, importance, name):
    some = importance.copy()
    some[256:512] = 0
    found = dequantized(quantize_rows(weights, name, importance=some), name)
    assert np.abs(found[0] - weights[0]).max() < np.abs(weights[0]).max()


@each_type
@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_only_the_proportions_of_importance_matter(weights, importance, name, scale):
    scaled = copy_of(importance * np.float32(2.0 ** round(np.log2(scale))), np.float32)
    found = quantize_rows(weights, name, importance=scaled)
    np.testing.assert_array_equal(found, quantize_rows(weights, name, importance=importance))


@each_type
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(weights, name, value):
    spoiled = weights.copy()
    spoiled[1, 700] = value
    with pytest.raises(UnfitWeightError, match="not a finite number"):
        quantize_rows(copy_of(spoiled, np.float32), name)


@each_type
@settings(max_examples=20, deadline=None)
@given(st.data())
def test_whatever_the_weights_blocks_are_finite_and_near(name, data):
    kinds = st.sampled_from([1e-42, 1e-30, 1e-12, 1e-3, 1.0, 1e4])
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    blocks = rng.standard_normal((3, 8, 32))
    blocks *= np.array(data.draw(st.lists(kinds, min_size=8, max_size=8)))[:, None]
    blocks += np.array(data.draw(st.lists(st.sampled_from([0, 0, 1, -1]), min_size=8, max_size=8)))[:, None]
    rows = copy_of(blocks.reshape(3, 256), np.float32)
    importance = copy_of(rng.gamma(0.3, 1, 256), np.float32) if data.draw(st.booleans()) else None
    found = dequantized(quantize_rows(rows, name, importance=importance), name)
    largest = np.abs(rows).max()
    assert np.isfinite(found).all()
    assert np.abs(found - rows).max() <= 1.5 * largest


def test_importance_that_does_not_fit_is_refused(weights):
    for wrong in (np.ones(767, np.float32), np.ones(768, np.float64), np.ones((1, 768), np.float32)):
        with pytest.raises(ValueError, match="768 columns must be as many float32"):
            quantize_rows(weights, "Q4_K", importance=wrong)
    for value in (np.nan, -1, np.inf):
        wrong = np.ones(768, np.float32)
        wrong[5] = value
        with pytest.raises(ValueError, match="must be a finite number, not below 0"):
            quantize_rows(weights, "Q4_K", importance=wrong)


def test_every_type_that_can_be_multiplied_can_be_written():
    assert set(TYPES) | {"F32", "F16", "BF16"} <= set(TARGET_TYPES)
    assert not NEEDS_IMPORTANCE & set(TYPES)
