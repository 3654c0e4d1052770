from __future__ import annotations

import pytest

import glmq

from .scripted_chat import Script
from .small_models import write_glm4moe


def with_kernels(path):
    """A model's path, its kernels compiled, so that no program tells that it compiles them."""
    glmq.load(path).close()
    return path


@pytest.fixture(scope="session")
def small_path(tmp_path_factory):
    """A small random GLM with a byte vocabulary."""
    return with_kernels(write_glm4moe(tmp_path_factory.mktemp("small") / "small.gguf", "Q8_0"))


@pytest.fixture(scope="session")
def glm_4_6_path(tmp_path_factory):
    """A small random model that chats as GLM-4.6 does."""
    path = tmp_path_factory.mktemp("glm-4.6") / "glm-4.6.gguf"
    return with_kernels(write_glm4moe(path, "Q8_0", name="GLM-4.6", n_ctx=8192))


@pytest.fixture(scope="session")
def glm_4_7_path(tmp_path_factory):
    """A small random model that chats as GLM-4.7 does, and so begins an answer inside its thinking."""
    path = tmp_path_factory.mktemp("glm-4.7") / "glm-4.7.gguf"
    return with_kernels(write_glm4moe(path, "Q8_0", name="GLM-4.7", n_ctx=8192))


@pytest.fixture
def glm_4_6(glm_4_6_path):
    with glmq.load(glm_4_6_path) as model:
        yield model


@pytest.fixture
def glm_4_7(glm_4_7_path):
    with glmq.load(glm_4_7_path) as model:
        yield model


@pytest.fixture
def small(small_path):
    with glmq.load(small_path, n_ctx=256) as model:
        yield model


@pytest.fixture
def says(monkeypatch):
    """Makes the models say replies, one after another; gives the script."""

    def say(*replies):
        script = Script(replies)
        monkeypatch.setattr(
            glmq.Model, "generate", lambda model, prompt, **more: script.generate(model, prompt, **more)
        )
        return script

    return say


@pytest.fixture
def begin(glm_4_7):
    """Begins conversations, which are closed in the end."""
    chats = []

    def start(*arguments, **more):
        chats.append(glm_4_7.conversation(*arguments, **more))
        return chats[-1]

    yield start
    for chat in chats:
        chat.close()
