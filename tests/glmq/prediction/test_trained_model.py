"""The layer of a model that was trained agrees with the trunk as often as its makers measured."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from glmq_convert.conversion import convert

from bench.prediction import agreements, rendered

from ..prediction_runs import load_predicting

TRAINED = Path(__file__).parents[4] / "shared" / "models" / "tiny-glm-moe"
OF_ANSWERS, OF_TEXT = 0.940, 0.402
"""Shares of tokens, of its README: measured with transformers, in which position 0 has no row."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    if not TRAINED.exists():
        pytest.skip("there is no trained model in ../shared/models")
    path = convert(TRAINED, tmp_path_factory.mktemp("trained") / "model.gguf", "bf16")
    with load_predicting(path, n_ctx=2048) as model:
        yield model


def test_agreement_in_answers(trained):
    found = []
    for conversation in json.loads((TRAINED / "heldout_conversations.json").read_text()):
        tokens, answers = rendered(trained, conversation)
        found.append(agreements(trained, tokens)[[place - 2 for place in answers]])
    agreed = np.concatenate(found)
    assert len(agreed) > 1500
    assert agreed.mean() == pytest.approx(OF_ANSWERS, abs=0.015)


def test_agreement_in_text(trained):
    text = trained.tokenize((TRAINED / "heldout_text.txt").read_text()[:20000])
    agreed = np.concatenate([agreements(trained, text[i : i + 1024]) for i in range(0, len(text), 1024)])
    assert agreed.mean() == pytest.approx(OF_TEXT, abs=0.05)


def test_drafts_are_what_the_layer_finds_likeliest(trained):
    """One after another in an answer: most of the first are the trunk's own choice."""
    session = trained.session()
    tokens = trained.tokenize("[gMASK]<sop><|user|>What is the capital of France?<|assistant|></think>")
    choice = int(session.evaluate(tokens).argmax())
    found = []
    for _ in range(6):
        [guess] = session.draft([choice], 1)
        choice = int(session.evaluate([choice]).argmax())
        found.append(guess.token == choice)
        if choice in trained.tokenizer.eog_ids:
            break
    assert np.mean(found) > 0.5
