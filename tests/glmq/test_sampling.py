"""The sampler: what it draws, what it remembers, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import given
from hypothesis import strategies as st

from glmq.sampling import Sampler, Sampling
from glmq.sampling.settings import STEPS

LOGITS = np.log(np.array([0.05, 0.4, 0.15, 0.3, 0.1], np.float32))
OPEN = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}


def sampler(history=(), **settings):
    return Sampler(Sampling(**OPEN | settings), history=history)


def distribution(history=(), **settings):
    tokens, probabilities = sampler(history, **settings).distribution(LOGITS)
    return dict(zip(tokens.tolist(), probabilities.tolist(), strict=True))


def test_without_filters_the_distribution_is_softmax():
    assert distribution() == pytest.approx({1: 0.4, 3: 0.3, 2: 0.15, 4: 0.1, 0: 0.05}, rel=1e-5)
    assert list(distribution()) == [1, 3, 2, 4, 0]


def test_steps_act_in_the_order_given():
    kept_first = distribution(order=("min_p", "temperature"), min_p=0.3, temperature=4.0)
    heated_first = distribution(order=("temperature", "min_p"), min_p=0.3, temperature=4.0)
    assert len(kept_first) == 3
    assert len(heated_first) == 5


def test_steps_left_out_of_the_order_do_nothing():
    assert distribution(order=(), top_k=1, temperature=0.0) == distribution()


def test_mirostat_takes_the_place_of_all_steps_but_the_temperature_before_it():
    assert set(distribution(mirostat=2, mirostat_tau=1.25)) == {1, 3}  # at most 2.5 bits
    heated = distribution(mirostat=2, mirostat_tau=1.25, temperature=4.0)
    assert set(heated) == {1, 3, 2}
    with_others = {"top_k": 1, "presence_penalty": 9.0, "order": ("top_k", "penalties")}
    assert heated == distribution([1], mirostat=2, mirostat_tau=1.25, temperature=4.0, **with_others)


def test_temperature_0_takes_the_likeliest_and_the_first_of_equal_ones():
    assert [sampler(temperature=0.0).sample(LOGITS) for _ in range(5)] == [1] * 5
    assert sampler(temperature=0.0).sample(np.array([0, 3, 3, 1], np.float32)) == 1
    assert sampler(temperature=0.0, top_k=2).sample(np.array([0, 3, 3, 3, 3], np.float32)) == 1


@given(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=300), st.integers(0, 80))
def test_temperature_0_is_the_first_maximum_with_any_filters_but_typical_p_and_xtc(values, k):
    logits = np.array(values, np.float32)
    settings = {"temperature": 0.0, "top_k": k, "top_p": 0.5, "min_p": 0.1, "top_n_sigma": 1.0}
    assert Sampler(Sampling(**settings)).sample(logits) == logits.argmax()


def test_a_seed_repeats_the_draws_and_another_changes_them():
    first, again, other = (
        [each.sample(LOGITS) for _ in range(50)] for each in (sampler(seed=seed) for seed in (3, 3, 4))
    )
    assert first == again != other


def test_drawn_tokens_are_remembered():
    once = sampler(temperature=0.0, presence_penalty=10.0)
    assert [once.sample(LOGITS) for _ in range(5)] == [1, 3, 2, 4, 0]


def test_accepted_tokens_are_remembered_and_the_prompt_counts():
    accepting = sampler(presence_penalty=1.0)
    accepting.accept(1)
    expected = distribution(history=[1], presence_penalty=1.0)
    assert dict(zip(*accepting.distribution(LOGITS), strict=True)) == pytest.approx(expected)
    assert expected[1] < 0.4


def test_tokens_are_forgotten_when_penalty_last_n_others_came():
    assert distribution(history=[1, 0, 0], presence_penalty=1.0, penalty_last_n=2)[1] > 0.4
    assert distribution(history=[1, 0, 0], presence_penalty=1.0, penalty_last_n=3)[1] < 0.4
    assert distribution(history=[1, 0, 0], presence_penalty=1.0, penalty_last_n=0) == distribution()


def test_a_bias_is_added_and_minus_infinity_forbids():
    biased = distribution(logit_bias={0: 2.0, 1: float("-inf")})
    assert 1 not in biased
    assert biased[0] / biased[3] == pytest.approx(0.05 / 0.3 * np.exp(2), rel=1e-5)


def test_a_bias_for_a_token_outside_the_vocabulary_is_refused():
    with pytest.raises(GlmqError, match="token 5; the vocabulary of this model ends at 4"):
        distribution(logit_bias={5: 1.0})


def test_a_bias_that_forbids_everything_is_refused():
    with pytest.raises(GlmqError, match="logit_bias forbids every token"):
        distribution(logit_bias=dict.fromkeys(range(5), float("-inf")))


@pytest.mark.parametrize("name", [*STEPS, "mirostat", "logit_bias"])
def test_tokens_masked_by_the_caller_are_never_drawn(name):
    on = {
        "penalties": {"repeat_penalty": 1.5},
        "dry": {"dry_multiplier": 1.0, "dry_breakers": (), "dry_allowed_length": 0},
        "top_n_sigma": {"top_n_sigma": 1.0},
        "top_k": {"top_k": 5},
        "typ_p": {"typical_p": 0.5},
        "top_p": {"top_p": 0.5},
        "min_p": {"min_p": 0.1},
        "xtc": {"xtc_probability": 1.0, "xtc_threshold": 0.1},
        "temperature": {"temperature": 3.0},
        "mirostat": {"mirostat": 2},
        "logit_bias": {"logit_bias": {1: 50.0, 2: 1.0}},
    }
    masked = np.where(np.arange(5) % 2 == 0, LOGITS, -np.inf).astype(np.float32)
    drawing = Sampler(Sampling(**OPEN | on[name] | {"seed": 1}), _NoTokenizer(), [0, 1, 2])
    assert {drawing.sample(masked) for _ in range(100)} <= {0, 2, 4}


class _NoTokenizer:
    """Enough of a tokenizer where there are no breakers."""

    n_vocab = 0


def test_dry_needs_a_tokenizer():
    with pytest.raises(ValueError, match="tokenizer"):
        sampler(dry_multiplier=1.0)


def test_a_generation_counts_its_prompt_and_finds_the_breakers_of_dry(small):
    settings = Sampling(temperature=0, presence_penalty=1000, penalty_last_n=1000, dry_multiplier=1.0)
    generation = small.generate("Hello, world", sampling=settings, max_tokens=40)
    generation.run()
    assert len({*generation.prompt, *generation.tokens}) == len(set(generation.prompt)) + 40


@pytest.mark.parametrize("temperature", (0, 1))
@pytest.mark.parametrize("value", (np.nan, np.inf), ids=str)
def test_outputs_that_are_no_numbers_are_refused(temperature, value):
    with pytest.raises(GlmqError, match="not finite"):
        Sampler(Sampling(temperature=temperature)).sample(np.array([1, value], np.float32))


def test_outputs_that_forbid_everything_are_refused():
    with pytest.raises(GlmqError, match="not finite"):
        sampler().sample(np.full(5, -np.inf, np.float32))


def test_the_callers_logits_stay_as_they_are():
    logits = LOGITS.copy()
    sampler(history=[1, 1], repeat_penalty=1.5, logit_bias={2: 1.0}, temperature=0.5).sample(logits)
    np.testing.assert_array_equal(logits, LOGITS)


PROBABILITY = st.floats(0, 1)


@given(
    st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=60),
    st.fixed_dictionaries(
        {
            "temperature": st.floats(0, 5),
            "top_k": st.integers(0, 80),
            "top_p": PROBABILITY,
            "min_p": PROBABILITY,
            "typical_p": PROBABILITY,
            "top_n_sigma": st.floats(-1, 3),
            "xtc_probability": PROBABILITY,
            "xtc_threshold": PROBABILITY,
            "repeat_penalty": st.floats(0.01, 100),
            "frequency_penalty": st.floats(-1000, 1000),
            "mirostat": st.sampled_from((0, 2)),
            "order": st.permutations([name for name in STEPS if name != "dry"]),
        }
    ),
)
def test_any_settings_leave_tokens_with_probabilities_that_sum_to_1(values, settings):
    logits = np.array(values, np.float32)
    drawing = Sampler(Sampling(**settings), history=[0, 0, 5, 59])
    tokens, probabilities = drawing.distribution(logits)
    assert probabilities.sum() == pytest.approx(1, rel=1e-5)
    assert (np.diff(probabilities) <= 0).all()
    assert len(set(tokens.tolist())) == len(tokens) == len(probabilities)
    assert 0 <= drawing.sample(logits) < len(logits)
