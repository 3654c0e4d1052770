from __future__ import annotations

import pytest

import glmq


@pytest.fixture
def small(small_path):
    """Without rounding of activations, so that sizes of batches make no difference."""
    with glmq.load(small_path, n_ctx=256, activations="f32") as model:
        yield model
