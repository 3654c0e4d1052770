"""Converted files open in llama.cpp and give transformers' logits there, and texts their tokens.

Needs xllamacpp, which the extra `bench` has.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from glmq_convert.conversion import convert

import glmq

pytest.importorskip("xllamacpp")
pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.convert import test_llama, test_sentence_pieces
from tests.glmq.test_against_transformers import SWITCHES, checkpoints, tokens_without_ties
from tests.glmq.test_lite_against_transformers import SWITCHES as LITE
from tests.golden.make_llama_cpp_golden import LlamaCpp

GLM = {
    "as Air": {},
    "q and k norm": {"use_qk_norm": True, "attention_bias": False},
    "tied head": {"tie_word_embeddings": True},
    "multi-token prediction": {"mtp": True},
    "stretched linearly": SWITCHES["stretched linearly"],
    "stretched by YaRN": SWITCHES["stretched by YaRN"],
}
MODELS = {
    **{f"GLM, {name}": variant for name, variant in GLM.items()},
    "GLM-4.7-Flash": {"kind": "glm4_moe_lite"},
    "GLM-4.7-Flash, stretched by YaRN": {"kind": "glm4_moe_lite", **LITE["stretched by YaRN, scores raised"]},
    **{f"Llama, {name}": {"kind": "llama", **variant} for name, variant in test_llama.VARIANTS.items()},
}
TEXTS = (*test_sentence_pieces.TEXTS, "1234567 they'VE\r\n\n said", "  two  ", "\t")


OF_EACH_KIND = ("GLM, multi-token prediction", "GLM-4.7-Flash", "Llama, plain")


@pytest.mark.parametrize(
    ("name", "type_name", "tolerance"),
    [*((name, "f32", 2e-4) for name in MODELS), *((name, "q8_0", 0.01) for name in OF_EACH_KIND)],
)
def test_logits(name, type_name, tolerance, tmp_path):
    reference = checkpoints.save_checkpoint(tmp_path, **MODELS[name])
    tokens, expected = tokens_without_ties(reference)
    model = LlamaCpp(convert(tmp_path, tmp_path / "model.gguf", type_name), n_threads=2)
    logits = model.evaluate_alone(tokens.tolist(), len(tokens))
    model.close()
    # The mean, because rounding to Q8_0 decides a few choices of experts differently.
    assert np.abs(logits - expected).mean() < tolerance * np.ptp(expected)


def with_tokenizer_json(folder):
    checkpoints.save_tokenizer(folder)


def with_tokenizer_model(folder):
    (folder / "tokenizer.model").write_bytes(test_sentence_pieces.trained())
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.mark.parametrize(
    ("kind", "add_tokenizer"),
    [
        ("glm4_moe", with_tokenizer_json),
        ("glm4_moe_lite", with_tokenizer_json),
        ("llama", with_tokenizer_json),
        ("llama", with_tokenizer_model),
    ],
)
def test_tokens(kind, add_tokenizer, tmp_path):
    checkpoints.save_checkpoint(tmp_path, kind=kind, vocab_size=440, tokenizer=False)
    add_tokenizer(tmp_path)
    path = convert(tmp_path, tmp_path / "model.gguf", "q8_0")
    model = LlamaCpp(path)
    theirs = [model.tokenize(text) for text in TEXTS]
    model.close()
    with glmq.load(path) as opened:
        ours = [opened.tokenizer.encode(text, special=False) for text in TEXTS]
    assert ours == theirs
