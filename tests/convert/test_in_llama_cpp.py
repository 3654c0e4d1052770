"""Converted files open in llama.cpp and give transformers' logits there.

Needs xllamacpp, which the extra `bench` has.
"""

from __future__ import annotations

import numpy as np
import pytest
from glmq_convert.conversion import convert

pytest.importorskip("xllamacpp")
pytest.importorskip("torch")

from tests.glmq.test_against_transformers import SWITCHES, checkpoints, tokens_without_ties
from tests.golden.make_llama_cpp_golden import logits_of

VARIANTS = {
    "as Air": {},
    "q and k norm": {"use_qk_norm": True, "attention_bias": False},
    "tied head": {"tie_word_embeddings": True},
    "multi-token prediction": {"mtp": True},
    "stretched linearly": SWITCHES["stretched linearly"],
    "stretched by YaRN": SWITCHES["stretched by YaRN"],
}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize(("type_name", "tolerance"), [("f32", 2e-4), ("q8_0", 0.01)])
def test_logits(variant, type_name, tolerance, tmp_path):
    reference = checkpoints.save_checkpoint(tmp_path, **variant)
    tokens, expected = tokens_without_ties(reference)
    path = convert(tmp_path, tmp_path / "model.gguf", type_name)
    logits = logits_of(path, tokens.tolist())
    # The mean, because rounding to Q8_0 decides a few choices of experts differently.
    assert np.abs(logits - expected).mean() < tolerance * np.ptp(expected)
