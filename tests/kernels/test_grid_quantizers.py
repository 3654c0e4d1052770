"""Grid types (IQ1_*, IQ2_*, IQ3_*): blocks as llama.cpp's quantizer makes them, and unusual weights.

Sums are added in another order here, so where two choices are as good as equal the blocks may differ.
"""

from __future__ import annotations

from typing import Any

import gguf
import numpy as np
import pytest
from glmq_kernels.formats.quantize import UnfitWeightError, quantize_rows
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.grid_sample import ALONE, GOLDEN, TYPES, weighted_error

SLOW = ("IQ1_S", "IQ1_M")
"""Types whose kernel, which takes long to compile, is for `make test-full`."""


def marked(cases: list[tuple[str, ...]]) -> list[Any]:
    """Cases that begin with a type, those of slow types marked."""
    return [pytest.param(*case, marks=[pytest.mark.slow] * (case[0] in SLOW)) for case in cases]


each_type = pytest.mark.parametrize("type_name", marked([(name,) for name in TYPES]))
each_signed_type = pytest.mark.parametrize("type_name", [name for name in TYPES if name not in SLOW])
"""Types that store magnitudes and signs."""
COLUMNS = 512
ERRORS = {
    "IQ2_XXS": 0.37, "IQ2_XS": 0.33, "IQ2_S": 0.27, "IQ3_XXS": 0.21, "IQ3_S": 0.16,
    "IQ1_S": 0.6, "IQ1_M": 0.55,
}  # fmt: skip
"""More than the relative error of normally distributed weights."""


def even_importance() -> np.ndarray:
    return np.ones(COLUMNS, np.float32)


def round_trip(weights: np.ndarray, type_name: str, importance: np.ndarray | None = None) -> np.ndarray:
    """Weights after quantization, float32."""
    importance = even_importance() if importance is None else importance
    quantized = quantize_rows(weights, type_name, importance=importance)
    return gguf.quants.dequantize(quantized, gguf.GGMLQuantizationType[type_name])


def random_weights(rows: int = 4, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, COLUMNS)).astype(np.float32)


def relative_error(weights: np.ndarray, found: np.ndarray) -> float:
    return float(np.linalg.norm(found - weights) / np.linalg.norm(weights))


@pytest.mark.parametrize(
    ("type_name", "how"), marked([(name, "weighed") for name in TYPES] + [(name, "alone") for name in ALONE])
)
def test_blocks_are_those_of_llama_cpp(type_name: str, how: str) -> None:
    golden = np.load(GOLDEN)
    weights, importance = golden["weights"], golden["importance"] if how == "weighed" else None
    expected = golden[type_name if how == "weighed" else f"{type_name} alone"]
    found = quantize_rows(weights, type_name, importance=importance)
    blocks = (-1, KERNEL_TYPES[type_name].block_bytes)
    same = (found.reshape(blocks) == expected.reshape(blocks)).all(axis=1)
    if type_name != "IQ2_XXS":  # whose first scale is found otherwise
        assert same.mean() >= 0.75
    errors = [weighted_error(weights, each, type_name, importance) for each in (found, expected)]
    assert errors[0] <= 1.002 * errors[1]


def test_wrong_signs_do_not_spoil_the_first_scale_of_iq2_xxs() -> None:
    """Large weights that matter little get the wrong sign; llama.cpp takes them for the largest of all."""
    rng = np.random.default_rng(3)
    weights = rng.standard_normal((16, COLUMNS)).astype(np.float32)
    importance = (rng.gamma(0.5, 1, COLUMNS) + 1e-4).astype(np.float32)
    found = round_trip(weights, "IQ2_XXS", importance)
    error, size = (float((importance * (w**2)).sum()) for w in (found - weights, weights))
    assert error / size < 0.08  # llama.cpp: 0.115


@each_type
def test_zeros_stay_zeros(type_name: str) -> None:
    assert not round_trip(np.zeros((2, COLUMNS), np.float32), type_name).any()


@each_type
def test_weights_too_small_for_any_scale_become_zeros(type_name: str) -> None:
    for size in (1e-45, 1e-39, 1e-12):
        weights = random_weights(1) * np.float32(size)
        assert not round_trip(weights, type_name).any()


@each_type
def test_one_huge_weight_among_small_ones_is_kept(type_name: str) -> None:
    weights = random_weights(1)
    weights[0, 77] = -50000.0
    found = round_trip(weights, type_name)
    assert found[0, 77] == pytest.approx(-50000.0, rel=0.2)
    assert relative_error(weights[:, 256:], found[:, 256:]) < ERRORS[type_name]


@each_type
@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf, 3e38])
def test_weights_that_no_scale_can_hold_are_refused(type_name: str, wrong: float) -> None:
    weights = random_weights(2)
    weights[1, 300] = wrong
    with pytest.raises(UnfitWeightError):
        quantize_rows(weights, type_name, importance=even_importance())


@each_type
@pytest.mark.parametrize("value", [0.25, -0.25])
def test_equal_weights_are_no_worse_than_others(type_name: str, value: float) -> None:
    weights = np.full((1, COLUMNS), value, np.float32)
    assert relative_error(weights, round_trip(weights, type_name)) < ERRORS[type_name]


@each_signed_type
def test_an_odd_number_of_minus_signs_costs_only_the_weight_that_matters_least(type_name: str) -> None:
    weights = np.abs(random_weights()) + np.float32(0.5)
    weights[:, ::8] *= -1
    weights[:, 5::8] = 0.001
    found = round_trip(weights, type_name)
    wrong = np.sign(found) != np.sign(weights)
    assert not np.delete(wrong.reshape(-1, 8), 5, axis=1).any()


@each_type
def test_columns_without_importance_do_not_matter(type_name: str) -> None:
    weights, importance = random_weights(), even_importance()
    importance[::4] = 0
    found = round_trip(weights, type_name, importance)
    matters = importance > 0
    assert relative_error(weights[:, matters], found[:, matters]) < ERRORS[type_name]


@each_type
def test_blocks_of_which_no_column_has_importance_are_fitted_to_their_weights(type_name: str) -> None:
    weights, importance = random_weights(), even_importance()
    importance[:96] = 0
    found = round_trip(weights, type_name, importance)
    assert relative_error(weights[:, :96], found[:, :96]) < 1.2 * ERRORS[type_name]


@each_type
def test_sources_of_half_the_width_give_the_blocks_of_their_floats(type_name: str) -> None:
    weights = random_weights(1).astype(np.float16)
    expected = quantize_rows(weights.astype(np.float32), type_name, importance=even_importance())
    assert np.array_equal(quantize_rows(weights, type_name, importance=even_importance()), expected)


@each_type
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000), power=st.integers(-6, 6))
def test_errors_are_within_their_type_s_bound_at_any_scale(type_name: str, seed: int, power: int) -> None:
    weights = random_weights(1, seed) * np.float32(2.0**power)
    # Of a thousand single rows the worst is 2% above the bound, which is one of several rows.
    assert relative_error(weights, round_trip(weights, type_name)) < 1.05 * ERRORS[type_name]


@each_signed_type
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 1000))
def test_weights_of_the_other_sign_give_results_of_the_other_sign(type_name: str, seed: int) -> None:
    weights = random_weights(1, seed)
    assert np.array_equal(round_trip(-weights, type_name), -round_trip(weights, type_name))
