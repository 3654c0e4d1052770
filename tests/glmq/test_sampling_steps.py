"""The steps one by one, in small examples that can be checked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glmq.gguf import open_gguf
from glmq.sampling import Sampling, filters
from glmq.sampling.candidates import Candidates, candidates
from glmq.sampling.dry import Dry, breakers_of
from glmq.sampling.mirostat import Mirostat
from glmq.sampling.penalties import Penalties
from glmq.tokenizer import load_tokenizer

from .sampling_golden import TOKENS, write_vocabulary

ALL = candidates(np.log(np.array([0.05, 0.4, 0.15, 0.3, 0.1], np.float32)))


def kept(left: Candidates) -> list[int]:
    return left.ids[left.likeliest()].tolist()


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(open_gguf(write_vocabulary(tmp_path_factory.mktemp("words") / "words.gguf")))


def test_top_k_keeps_the_likeliest():
    assert kept(filters.top_k(ALL, 2)) == [1, 3]
    assert kept(filters.top_k(ALL, 0)) == kept(filters.top_k(ALL, 9)) == [1, 3, 2, 4, 0]


def test_top_k_keeps_the_first_of_equal_ones():
    assert kept(filters.top_k(candidates(np.array([1, 2, 1, 1], np.float32)), 3)) == [1, 0, 2]


@given(st.lists(st.integers(-9, 9), min_size=1, max_size=400), st.integers(1, 30))
def test_the_likeliest_are_those_of_a_full_sort(values, k):
    logits = np.array(values, np.float32)
    expected = np.argsort(-logits, kind="stable")[:k]
    np.testing.assert_array_equal(candidates(logits).likeliest(k), expected)


def test_top_p_keeps_the_fewest_that_reach_the_share():
    assert kept(filters.top_p(ALL, 0.6)) == [1, 3]
    assert kept(filters.top_p(ALL, 0.71)) == [1, 3, 2]
    assert kept(filters.top_p(ALL, 0.0)) == [1]


def test_top_p_finds_shares_of_thousands_of_tokens():
    flat = candidates(np.zeros(10_000, np.float32))
    assert len(filters.top_p(flat, 0.9)) == pytest.approx(9000, abs=2)


def test_min_p_is_relative_to_the_likeliest():
    assert kept(filters.min_p(ALL, 0.3)) == [1, 3, 2]
    assert kept(filters.min_p(ALL, 1.0)) == [1]


def test_typical_p_prefers_information_near_the_entropy():
    # The entropy is 1.39 nats; the informations are 3.00, 0.92, 1.90, 1.20 and 2.30.
    assert kept(filters.typical_p(ALL, 0.2)) == [3]
    assert kept(filters.typical_p(ALL, 0.5)) == [1, 3]
    assert kept(filters.typical_p(ALL, 0.75)) == [1, 3, 2]


def test_top_n_sigma_counts_standard_deviations_from_the_highest():
    spread = candidates(np.array([0, 0, 0, 4], np.float32))  # standard deviation 1.73
    assert kept(filters.top_n_sigma(spread, 2.0)) == [3]
    assert kept(filters.top_n_sigma(spread, 2.5)) == [3, 0, 1, 2]


def test_xtc_leaves_out_the_probable_but_the_last_of_them():
    random = np.random.default_rng(0)
    assert kept(filters.xtc(ALL, 1.0, 0.15, random)) == [2, 4, 0]
    assert kept(filters.xtc(ALL, 1.0, 0.35, random)) == [1, 3, 2, 4, 0]
    assert kept(filters.xtc(ALL, 0.0, 0.15, random)) == [1, 3, 2, 4, 0]


def test_temperature_spreads_or_sharpens():
    hot = filters.temperature(ALL, 2.0).probabilities()
    assert hot[1] / hot[3] == pytest.approx((4 / 3) ** 0.5, rel=1e-5)
    assert kept(filters.temperature(ALL, 0.0)) == [1]
    assert filters.temperature(ALL, 1e-300).probabilities()[1] == 1


def test_penalties_divide_positive_logits_and_multiply_others():
    penalties = Penalties(Sampling(repeat_penalty=2.0, frequency_penalty=0.25, presence_penalty=0.5))
    for token in (0, 1, 1, 7):
        penalties.accept(token)
    left = penalties.apply(candidates(np.array([3, -3, 3], np.float32)))
    np.testing.assert_array_equal(left.logits, [3 / 2 - 0.75, -3 * 2 - 1.0, 3])


def test_mirostat_begins_with_twice_its_target_and_learns():
    mirostat = Mirostat(tau=1.0, eta=0.5)
    assert kept(mirostat.apply(ALL)) == [1, 3]  # at most 2 bits
    mirostat.observe(0.125)  # 3 bits, 2 more than wanted
    assert kept(mirostat.apply(ALL)) == [1]  # at most 1 bit: nothing is, so the likeliest
    mirostat.observe(1.0)
    mirostat.observe(1.0)
    mirostat.observe(1.0)
    assert mirostat.limit == 2.5


def dry_penalties(tokenizer, history: str, **settings) -> dict[str, float]:
    sampling = Sampling(**{"dry_multiplier": 1.0, "dry_base": 2.0} | settings)
    dry = Dry(sampling, breakers_of(sampling.dry_breakers, tokenizer))
    for text in history.split():
        dry.accept(TOKENS.index(text))
    logits = dry.apply(candidates(np.zeros(len(TOKENS), np.float32))).logits
    return {TOKENS[i]: float(-logits[i]) for i in np.flatnonzero(logits)}


def test_dry_grows_with_the_length_of_the_repetition(tokenizer):
    assert dry_penalties(tokenizer, "a b x a") == {}
    assert dry_penalties(tokenizer, "a b x y a b") == {"x": 1}
    assert dry_penalties(tokenizer, "a b x y a b x") == {"y": 2}
    assert dry_penalties(tokenizer, "a b x y a b x", dry_allowed_length=1) == {"y": 4}
    assert dry_penalties(tokenizer, "a b x y a b x", dry_last_n=6) == {"y": 1}


def test_dry_repetitions_end_at_breakers_which_are_not_penalized_themselves(tokenizer):
    assert dry_penalties(tokenizer, "a : b x y a : b x") == {"y": 1}
    assert dry_penalties(tokenizer, "a b : y a b") == {}
    assert dry_penalties(tokenizer, "a b : y a b", dry_breakers=()) == {":": 1}


def test_dry_penalties_of_long_repetitions_stay_finite(tokenizer):
    penalty = dry_penalties(tokenizer, "a " * 400, dry_last_n=1000, dry_base=3.0)["a"]
    assert penalty == pytest.approx(1e30)


def test_breakers_begin_in_tokens_that_hold_them_or_end_with_their_beginning(tokenizer):
    found = {TOKENS[token]: tails for token, tails in breakers_of(("o:x",), tokenizer).items()}
    tail = {text: TOKENS.index(text) for text in ("x:", "x", "o:")}
    assert found["o"] == [tuple(tokenizer.encode(":x"))]
    assert found["o:"] == [(tail["x"],)]
    assert "x:" not in found
    whole = breakers_of(("\n",), tokenizer)
    assert {TOKENS[token] for token in whole} == {"Ċ", "ĊĊ"}
    assert set(map(tuple, whole.values())) == {((),)}
