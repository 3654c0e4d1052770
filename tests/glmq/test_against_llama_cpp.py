"""Next-token distributions are those of llama.cpp on the same file, for every tensor type.

What llama.cpp gives is kept in tests/golden/llama_cpp.npz, with the script that made it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from glmq_kernels.formats.tensor_types import KERNEL_TYPES

import glmq

from .small_models import N_VOCAB, write_deepseek2, write_glm4moe, write_llama

GOLDEN = Path(__file__).parent.parent / "golden" / "llama_cpp.npz"
TOKENS = np.random.default_rng(5).integers(0, 256, 48).tolist()
KEPT = slice(1, None, 2)
"""Tokens after which the logits are compared."""

LATENT_TYPES = ("F32", "F16", "Q8_0", "Q4_0", "Q5_1", "MXFP4", "Q4_K", "Q6_K")
MODELS = {
    **{f"glm4moe {name}": partial(write_glm4moe, type_name=name) for name in KERNEL_TYPES},
    "glm4moe with q and k norm Q8_0": partial(write_glm4moe, type_name="Q8_0", qk_norm=True),
    **{f"deepseek2 {name}": partial(write_deepseek2, type_name=name, seed=1) for name in LATENT_TYPES},
    "deepseek2 in groups Q8_0": partial(write_deepseek2, type_name="Q8_0", groups=True),
    "deepseek2 with keys and values in one matrix F32": partial(write_deepseek2, old_layout=True),
    "llama F32": partial(write_llama, type_name="F32"),
    "llama Q4_0": partial(write_llama, type_name="Q4_0"),
}
TIE = 0.02
"""Share of the logits' range within which two tokens count as equally likely."""


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


@pytest.mark.parametrize("name", MODELS)
def test_distributions(name, tmp_path):
    expected = np.load(GOLDEN)[name].astype(np.float64)
    with glmq.load(MODELS[name](tmp_path / "model.gguf")) as model:
        logits = model.logits(TOKENS)[KEPT].astype(np.float64)
    assert logits.shape == (len(TOKENS) // 2, N_VOCAB)
    p, q = log_softmax(expected), log_softmax(logits)
    divergence = (np.exp(p) * (p - q)).sum(axis=-1)
    assert divergence.mean() < 1e-3
    best = logits.argmax(axis=-1)
    behind = expected.max(axis=-1) - expected[np.arange(len(best)), best]
    assert (behind < TIE * np.ptp(expected)).all()
