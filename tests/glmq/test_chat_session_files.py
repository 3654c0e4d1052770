"""Conversations that go on from files, and with another model."""

from __future__ import annotations

import json

import pytest

import glmq
from glmq import ChatOptions, GlmqError, WrongSession
from glmq.session_file import SessionFile

from .small_models import write_glm4moe
from .talks import said


@pytest.fixture
def other_model(tmp_path):
    with glmq.load(
        write_glm4moe(tmp_path / "other.gguf", "Q8_0", name="GLM-4.7", seed=5, n_ctx=8192)
    ) as model:
        yield model


def test_saved_with_the_models_state(says, begin, glm_4_7, other_model, tmp_path):
    says("Hm.</think>Blue.", "</think>Red.", "</think>Green.")
    path = tmp_path / "chat.session"
    chat = begin()
    chat.send("Why?").run()
    chat.save(path)
    with glm_4_7.load_conversation(path, options=ChatOptions(preserve_thinking=True)) as loaded:
        turn = loaded.send("And then?")
        turn.run()
        assert said(loaded) == ["Why?", "Blue.", "And then?", "Red."] and loaded.reason is None
        assert turn.usage.cached_tokens > 0.4 * turn.usage.prompt_tokens
    with pytest.raises(WrongSession):
        other_model.load_conversation(path)
    with other_model.conversation() as other:
        other.load_messages(path)
        assert other.send("So?").run() == "Green."


def test_kept_in_a_file_that_nobody_else_can_use(says, begin, glm_4_7, tmp_path):
    says("</think>Blue.", "</think>Red.")
    path = tmp_path / "chat.session"
    chat = begin()
    chat.keep_in(path)
    chat.send("Why?").run()
    chat.save()
    with pytest.raises(GlmqError, match="in use"):
        SessionFile(path)
    chat.close()
    later = begin()
    later.go_on_in(SessionFile(path))
    assert later.send("And then?").run() == "Red."
    later.save()
    later.close()
    assert len(glm_4_7.load_conversation(path).messages) == 4


def test_messages_alone_and_exported(says, begin, glm_4_7, tmp_path):
    says("</think>Blue.")
    chat = begin()
    chat.send("Why?").run()
    chat.save_messages(tmp_path / "chat.json")
    chat.export(tmp_path / "chat.md")
    assert glm_4_7.load_conversation(tmp_path / "chat.json").messages == chat.messages
    assert "## User\n\nWhy?" in (tmp_path / "chat.md").read_text()
    assert json.loads((tmp_path / "chat.json").read_text())["messages"] == chat.messages


def test_another_model_goes_on(says, begin, other_model, glm_4_6):
    script = says("</think>Blue.", "</think>Red.", "\n<think></think>\nGreen.")
    chat = begin(options=ChatOptions(preserve_thinking=True))
    chat.send("Why?").run()
    assert chat.change_model(other_model) == []
    assert chat.send("And then?").run() == "Red."
    assert chat.change_model(glm_4_6) == ["preserve_thinking"]
    chat.send("And?").run()
    assert "Blue." in script.prompts[-1] and chat.options.preserve_thinking is False
