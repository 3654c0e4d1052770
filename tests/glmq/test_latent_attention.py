"""Latent attention gives the same absorbed and expanded, whatever else is in the batch."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.ops.expanded_attention import work_list

import glmq

from .small_models import N_VOCAB, write_deepseek2
from .test_closing import join, run_aside

TOKENS = np.random.default_rng(7).integers(0, N_VOCAB, 200).tolist()
CLOSE = {"F32": 2e-6, "F16": 2e-4, "Q8_0": 2e-3}
"""Both forms round alike but for the order of sums; rounded rows of the cache may make more of it."""


@pytest.fixture
def always_expanded(monkeypatch):
    """As much is expanded as can be."""
    monkeypatch.setattr(work_list, "expanded_is_cheaper", lambda *work: True)


def logits_of(path, sizes=(200,), **options):
    with glmq.load(path, **options) as model:
        session, ends = model.session(), np.cumsum(sizes)
        return np.concatenate(
            [session.evaluate_all(TOKENS[end - n : end]) for n, end in zip(sizes, ends, strict=True)]
        )


def assert_close(actual, expected, parts):
    assert np.abs(actual - expected).max() < parts * np.ptp(expected)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """A model's file, and its logits in the absorbed form."""
    path = write_deepseek2(tmp_path_factory.mktemp("model") / "model.gguf")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(work_list, "expanded_is_cheaper", lambda *work: False)
        return path, {cache_type: logits_of(path, cache_type=cache_type) for cache_type in CLOSE}


@pytest.mark.parametrize("cache_type", CLOSE)
@pytest.mark.parametrize("sizes", ([200], [9, 91, 1, 99]), ids=str)
def test_every_type_of_cache(always_expanded, expected, cache_type, sizes):
    path, logits = expected
    assert_close(logits_of(path, sizes, cache_type=cache_type), logits[cache_type], CLOSE[cache_type])


@pytest.mark.slow
@pytest.mark.parametrize("sizes", ([200], [9, 91, 1, 99]), ids=str)
def test_a_cache_of_four_bits(monkeypatch, expected, sizes):
    path, _ = expected
    found = []
    for cheaper in (False, True):
        monkeypatch.setattr(work_list, "expanded_is_cheaper", lambda *work, cheaper=cheaper: cheaper)
        found.append(logits_of(path, sizes, cache_type="Q4_0"))
    assert_close(found[1], found[0], 2e-2)


def test_values_in_keys_have_the_keys_type(tmp_path):
    path = write_deepseek2(tmp_path / "model.gguf")
    with pytest.raises(GlmqError, match="cannot be F16 and Q4_0 at once"):
        glmq.load(path, cache_type_v="q4_0")


def test_every_instruction_set(always_expanded, any_isa, expected):
    path, logits = expected
    assert_close(logits_of(path, cache_type="F32"), logits["F32"], CLOSE["F32"])


@pytest.mark.parametrize("n_threads", (1, 5))
def test_any_number_of_threads(always_expanded, expected, n_threads):
    path, logits = expected
    assert_close(logits_of(path, cache_type="F32", n_threads=n_threads), logits["F32"], CLOSE["F32"])


@pytest.mark.parametrize("type_name", ("Q8_0", "Q4_0"))
def test_matrices_of_every_type_that_files_have(tmp_path, monkeypatch, type_name):
    """With activations that are not rounded, which experts' choices would make much of."""
    path = write_deepseek2(tmp_path / "model.gguf", type_name)
    found = {}
    for cheaper in (False, True):
        monkeypatch.setattr(work_list, "expanded_is_cheaper", lambda *work, cheaper=cheaper: cheaper)
        found[cheaper] = logits_of(path, cache_type="F32", activations="f32")
    assert_close(found[True], found[False], 5e-6)


def test_files_from_before_keys_were_absorbed(tmp_path, always_expanded, expected):
    old = write_deepseek2(tmp_path / "old.gguf", old_layout=True)
    assert_close(logits_of(old, cache_type="F32"), expected[1]["F32"], CLOSE["F32"])


def test_only_the_last_token_has_logits(always_expanded, expected):
    path, logits = expected
    with glmq.load(path, cache_type="F32") as model:
        assert_close(model.session().evaluate(TOKENS), logits["F32"][-1], CLOSE["F32"])


def test_prompts_long_and_short_beside_a_sequence_that_decodes(always_expanded, expected):
    path, logits = expected
    lengths = (200, 5, 130, 70)
    with glmq.load(path, cache_type="F32") as model:
        decoding = model.session()
        decoding.evaluate(TOKENS[:50])
        threads = [run_aside(lambda n=n: model.session().evaluate_all(TOKENS[:n])) for n in lengths]
        rows = [decoding.evaluate(TOKENS[i : i + 1]) for i in range(50, 80)]
        for thread, _ in threads:
            join(thread)
    for n, (_, found) in zip(lengths, threads, strict=True):
        assert_close(found[0], logits["F32"][:n], CLOSE["F32"])
    assert_close(np.stack(rows), logits["F32"][50:80], CLOSE["F32"])
