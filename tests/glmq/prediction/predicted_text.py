"""A text that small models with a layer of multi-token prediction read, and what the layer predicts of it."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..prediction_runs import next_logits
from ..small_models import write_deepseek2, write_glm4moe

WRITE = {"glm4moe": partial(write_glm4moe, qk_norm=True), "deepseek2": write_deepseek2}
TEXT = np.random.default_rng(3).integers(0, 256, 24).tolist()
CLOSE = 2e-5
"""How far logits may be off, in parts of their range: as those of the trunk."""


def assert_close(found, expected):
    assert np.abs(found - expected).max() < CLOSE * np.ptp(expected)


def logits_behind(model, sequence, state=None):
    """What the layer predicts behind the token of TEXT that follows a sequence's."""
    token = TEXT[len(sequence.tokens)]
    return next_logits(model, sequence, [token], None if state is None else state[None])[-1]


def drafted_tokens(session, tokens, n_most):
    return [guess.token for guess in session.draft(tokens, n_most)]
