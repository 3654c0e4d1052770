"""Sampling: the filters keep what they should, and draws follow the probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.errors import UserError
from hypothesis import given
from hypothesis import strategies as st

from glmq.sampling import Sampler, Sampling, distribution

LOGITS = np.log(np.array([0.05, 0.4, 0.15, 0.3, 0.1], np.float32))
OPEN = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


def kept(**settings):
    tokens, probabilities = distribution(LOGITS, Sampling(**OPEN | settings))
    return tokens.tolist(), probabilities


def test_without_filters_the_distribution_is_softmax():
    tokens, probabilities = kept()
    assert tokens == [1, 3, 2, 4, 0]
    np.testing.assert_allclose(probabilities, [0.4, 0.3, 0.15, 0.1, 0.05], rtol=1e-5)


def test_top_k_keeps_the_likeliest():
    tokens, probabilities = kept(top_k=2)
    assert tokens == [1, 3]
    np.testing.assert_allclose(probabilities, [4 / 7, 3 / 7], rtol=1e-5)


def test_top_p_keeps_the_fewest_that_reach_the_share():
    assert kept(top_p=0.6)[0] == [1, 3]
    assert kept(top_p=0.71)[0] == [1, 3, 2]
    assert kept(top_p=0.01)[0] == [1]


def test_min_p_is_relative_to_the_likeliest():
    assert kept(min_p=0.3)[0] == [1, 3, 2]
    assert kept(min_p=1.0)[0] == [1]


def test_temperature_comes_after_the_filters():
    tokens, probabilities = kept(top_p=0.6, temperature=2.0)
    assert tokens == [1, 3]
    np.testing.assert_allclose(probabilities[0] / probabilities[1], (4 / 3) ** 0.5, rtol=1e-5)


def test_temperature_0_takes_the_likeliest():
    assert [Sampler(Sampling(temperature=0)).sample(LOGITS) for _ in range(5)] == [1] * 5


def test_draws_follow_the_probabilities():
    n = 20_000
    sampler = Sampler(Sampling(**OPEN, seed=1))
    counts = np.bincount([sampler.sample(LOGITS) for _ in range(n)], minlength=5)
    expected = np.exp(LOGITS.astype(float)) * n
    chi_square = ((counts - expected) ** 2 / expected).sum()
    assert chi_square < 18.5  # 4 degrees of freedom: exceeded once in a thousand seeds


def test_a_seed_repeats_the_draws_and_another_changes_them():
    first, again, other = (
        [sampler.sample(LOGITS) for _ in range(50)]
        for sampler in (Sampler(Sampling(**OPEN, seed=seed)) for seed in (3, 3, 4))
    )
    assert first == again != other


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=60),
    st.integers(0, 80),
    st.floats(0.01, 1),
    st.floats(0, 1),
    st.floats(0, 5),
)
def test_any_settings_leave_the_likeliest_and_probabilities_that_sum_to_1(values, k, p, min_p, temperature):
    logits = np.array(values, np.float32)
    tokens, probabilities = distribution(logits, Sampling(temperature, k, p, min_p))
    assert logits[tokens[0]] == logits.max()
    assert probabilities.sum() == pytest.approx(1)
    assert len(set(tokens.tolist())) == len(tokens) == len(probabilities)
    assert not k or len(tokens) <= k


@pytest.mark.parametrize(
    "settings",
    [{"temperature": -1}, {"top_k": -1}, {"top_p": 0}, {"top_p": 1.5}, {"min_p": 2}, {"seed": -1}],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused_by_name(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        Sampling(**settings)


@pytest.mark.parametrize("temperature", (0, 1))
def test_outputs_that_are_no_numbers_are_refused(temperature):
    with pytest.raises(UserError, match="not finite"):
        Sampler(Sampling(temperature=temperature)).sample(np.array([1, np.nan], np.float32))
