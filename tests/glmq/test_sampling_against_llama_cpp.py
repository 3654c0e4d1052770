"""Sampling is llama.cpp's: the same tokens with the same probabilities stay, draws are as frequent.

What llama.cpp does is in golden/sampling.json, which golden/make_sampling_golden.py makes.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glmq.gguf import open_gguf
from glmq.sampling import Sampler, Sampling
from glmq.sampling.candidates import candidates
from glmq.sampling.dry import LARGEST_PENALTY, Dry, breakers_of
from glmq.sampling.filters import temperature
from glmq.sampling.mirostat import Mirostat
from glmq.tokenizer import load_tokenizer

from .sampling_golden import TOKENS, load, write_vocabulary

GOLDEN = load()


def sampling_of(settings: dict) -> Sampling:
    biases = {int(token): bias for token, bias in settings.get("logit_bias", {}).items()}
    return Sampling(**GOLDEN["off"] | settings | {"logit_bias": biases})


def name_of(case: dict) -> str:
    settings = ",".join(f"{name}={value}" for name, value in case["settings"].items())
    return f"{case.get('logits', '')}:{settings or 'off'}:{len(case.get('history', []))}"


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return load_tokenizer(open_gguf(write_vocabulary(tmp_path_factory.mktemp("words") / "words.gguf")))


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=name_of)
def test_the_same_tokens_stay_with_the_same_probabilities(case):
    sampler = Sampler(sampling_of(case["settings"]), history=case["history"])
    tokens, probabilities = sampler.distribution(GOLDEN["logits"][case["logits"]])
    possible = probabilities > 0
    tokens, probabilities = tokens[possible], probabilities[possible]
    n = len(case["tokens"])
    assert len(tokens) == case["n_kept"]
    assert set(tokens[:n].tolist()) == set(case["tokens"])
    np.testing.assert_allclose(probabilities[:n], case["probabilities"], rtol=2e-5)


@pytest.mark.parametrize("case", GOLDEN["dry"], ids=name_of)
def test_dry_takes_the_same_off_the_same_tokens(case, tokenizer):
    sampling = sampling_of(case["settings"])
    dry = Dry(sampling, breakers_of(sampling.dry_breakers, tokenizer))
    for token in case["history"]:
        dry.accept(token)
    logits = dry.apply(candidates(np.zeros(len(TOKENS), np.float32))).logits
    penalties = {str(i): float(-logits[i]) for i in np.flatnonzero(logits)}
    expected = {token: min(penalty, LARGEST_PENALTY) for token, penalty in case["penalties"].items()}
    assert penalties == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("case", GOLDEN["mirostat"], ids=name_of)
def test_mirostat_takes_the_same_course_when_the_same_tokens_are_drawn(case):
    sampling = sampling_of(case["settings"])
    mirostat = Mirostat(sampling.mirostat_tau, sampling.mirostat_eta)
    heated = temperature(candidates(GOLDEN["logits"]["long"]), sampling.temperature)
    for token, probability, n_kept in case["course"]:
        left = mirostat.apply(heated)
        found = left.probabilities()[left.ids == token]
        assert len(left) == n_kept
        assert found.tolist() == pytest.approx([probability], rel=1e-4)
        mirostat.observe(float(found[0]))


@pytest.mark.parametrize("case", GOLDEN["draws"], ids=name_of)
def test_tokens_are_drawn_as_often(case):
    theirs = np.array(case["counts"])
    sampler = Sampler(Sampling(**GOLDEN["off"] | case["settings"] | {"seed": 1}))
    drawn = [sampler.sample(GOLDEN["logits"]["peaked"]) for _ in range(theirs.sum())]
    ours = np.bincount(drawn, minlength=len(theirs))
    frequent = ours + theirs >= 20
    ours, theirs = ours[frequent], theirs[frequent]
    chi_square = ((ours - theirs) ** 2 / (ours + theirs)).sum()
    assert chi_square < once_in_a_thousand(len(ours) - 1)


def few_tokens_without_history(case: dict) -> bool:
    return case["n_kept"] == len(case["tokens"]) > 1 and not case["history"]


@pytest.mark.parametrize("case", [*filter(few_tokens_without_history, GOLDEN["cases"])], ids=name_of)
def test_draws_follow_the_probabilities(case):
    n = 400
    sampler = Sampler(replace(sampling_of(case["settings"]), seed=2))
    drawn = [sampler.sample(GOLDEN["logits"][case["logits"]]) for _ in range(n)]
    assert set(drawn) <= set(case["tokens"])
    expected = n * np.array(case["probabilities"])
    counts = np.array([drawn.count(token) for token in case["tokens"]])
    often = expected >= 5
    chi_square = ((counts - expected) ** 2 / expected)[often].sum()
    assert chi_square < once_in_a_thousand(often.sum())


def once_in_a_thousand(degrees_of_freedom: int) -> float:
    """The chi-square that is exceeded that often (Wilson and Hilferty 1931)."""
    part = 2 / (9 * degrees_of_freedom)
    return degrees_of_freedom * (1 - part + 3.09 * part**0.5) ** 3
