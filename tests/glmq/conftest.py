from __future__ import annotations

import pytest

import glmq

from .small_models import write_glm4moe


@pytest.fixture(scope="session")
def small_path(tmp_path_factory):
    """A small random GLM with a byte vocabulary."""
    return write_glm4moe(tmp_path_factory.mktemp("small") / "small.gguf", "Q8_0")


@pytest.fixture
def small(small_path):
    with glmq.load(small_path, n_ctx=256) as model:
        yield model
