"""What layers of multi-token prediction predict is what llama.cpp's do, on the same file.

That is kept in tests/golden/llama_cpp_prediction.npz, with the script that made it.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from ..prediction_runs import load_predicting, next_logits
from ..small_models import add_prediction, write_deepseek2, write_glm4moe

GOLDEN = Path(__file__).parents[2] / "golden" / "llama_cpp_prediction.npz"
TOKENS = np.random.default_rng(5).integers(0, 256, 48).tolist()
KEPT = slice(3, None, 4)
"""Tokens behind which the logits are compared."""

OWN = partial(add_prediction, own_tables=True)
MODELS = {
    "glm4moe F32": partial(write_glm4moe, qk_norm=True, change=add_prediction),
    "glm4moe F32, its own tables": partial(write_glm4moe, qk_norm=True, change=OWN),
    "deepseek2 F32": partial(write_deepseek2, change=add_prediction),
    "deepseek2 F32, its own tables": partial(write_deepseek2, change=OWN),
}
CLOSE = 5e-4
"""How far logits may be off, in parts of their range: both have keys and values in float16."""


@pytest.mark.parametrize("name", MODELS)
def test_logits(name, tmp_path):
    expected = np.load(GOLDEN)[name].astype(np.float32)
    with load_predicting(MODELS[name](tmp_path / "model.gguf")) as model:
        session = model.session()
        session.evaluate(TOKENS)
        states = session.sequence.hidden.rows
        before = np.vstack([np.zeros_like(states[:1]), states[:-1]])
        found = next_logits(model, model.session().sequence, TOKENS, before)[KEPT]
    assert np.abs(found - expected).max() < CLOSE * np.ptp(expected)
