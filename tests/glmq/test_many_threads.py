"""A whole model with many more threads than cores."""

from __future__ import annotations

import numpy as np
import pytest

import glmq

from .small_models import write_glm4moe


@pytest.mark.parametrize("n_threads", (3, 64))
def test_an_answer_has_the_same_bits(tmp_path, n_threads):
    path = write_glm4moe(tmp_path / "model.gguf")
    logits = []
    for n in (1, n_threads):
        with glmq.load(path, n_threads=n, activations="int8") as model:
            session = model.session()
            logits.append([session.evaluate([token]).copy() for token in (1, 5, 7)])
    np.testing.assert_array_equal(*logits)
