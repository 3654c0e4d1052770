"""Commands of a chat that change how it answers: its settings, and its model."""

from __future__ import annotations

import gc
import weakref
from dataclasses import fields

import pytest

from glmq import Sampling
from glmq.cli.talk_settings import setting_names

from ..small_models import write_glm4moe
from ..talks import new_talk
from ..test_command_line import refused as refused_by_chat
from .told_by_commands import REPLIES, contents, refused

VALUES = {
    "max_tokens": ("7", 7),
    "think": ("off", False),
    "think_budget": ("off", None),
    "think_keep": ("on", True),
    "think_view": ("hidden", "hidden"),
    "strict_tools": ("on", True),
    "stats": ("off", False),
    "markdown": ("off", False),
    "temperature": ("0.25", 0.25),
    "seed": ("3", 3),
    "order": ("top_k;temperature", ("top_k", "temperature")),
    "logit_bias": ("5-inf", {5: float("-inf")}),
    "dry_breakers": ("none", ()),
}


def test_a_setting_is_shown_by_its_name(talk):
    talk.say("/set temp 0.5", "/set think on")
    assert talk.say("/set temp") == "temperature 0.5"
    assert talk.say("/set think ") == "think on"


@pytest.mark.parametrize("name", VALUES)
def test_settings(talk, name):
    text, value = VALUES[name]
    assert talk.say(f"/set {name} {text}") == f"{name} is {text} now."
    owner = talk.settings if hasattr(talk.settings, name) else talk.settings.sampling
    assert getattr(owner, name) == value


def test_an_unknown_setting_lists_all_that_there_are(talk):
    told = refused(talk, "/set dance 1")
    assert all(name in told for name in setting_names())


def test_every_setting_can_be_set_to_what_is_shown_of_it(talk):
    shown = dict(line.partition(" ")[::2] for line in talk.say("/set").split("\n"))
    assert [*shown, "default"] == setting_names()
    assert {field.name for field in fields(Sampling)} <= set(shown)
    talk.say("/set logit_bias 5-inf 7+1.5")
    shown["logit_bias"] = "5-inf 7+1.5"
    before = talk.settings
    for name, text in shown.items():
        talk.say(f"/set {name} {text}")
    assert talk.settings == before


def test_thinking_can_be_left_to_the_model_again(talk):
    talk.say("/nothink", "/set think default")
    assert talk.settings.think is None


def test_settings_go_back_to_what_suits_the_model(talk):
    suits = talk.settings.sampling
    talk.say("/set temp 0", "/set top-k 5")
    assert (talk.settings.sampling.temperature, talk.settings.sampling.top_k) == (0, 5)
    talk.say("/set temp default")
    assert talk.settings.sampling.temperature == suits.temperature
    talk.say("/set default")
    assert talk.settings.sampling == suits


@pytest.mark.parametrize(
    "line",
    ("/set dance 1", "/set default 5", "/set temp hot", "/set temp -1", "/set max_tokens few",
     "/set markdown maybe", "/set stats maybe", "/set think_view loud", "/set order dance",
     "/set max_tokens 0", "/set think maybe"),
)  # fmt: skip
def test_bad_settings_are_refused_and_change_nothing(talk, line):
    before = talk.settings
    assert line.split()[1] in refused(talk, line) or "temperature" in refused(talk, line)
    assert talk.settings == before


def test_models_without_a_switch_say_so(talk, monkeypatch, glm_4_7):
    monkeypatch.setattr("glmq.cli.slash.settings_commands.thinking_format", lambda template: NoSwitch)
    assert "no switch" in refused(talk, "/nothink")
    assert "no switch" in refused(talk, "/think hello")
    assert contents(talk) == []


class NoSwitch:
    has_switch = False


# Another model

PLAIN = "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}answer:"


def test_another_model_goes_on_with_the_conversation(talk, glm_4_6_path):
    talk.say("one", f"/model {glm_4_6_path}")
    assert talk.say("/model").startswith("GLM-4.6 · context 8192 · ")
    talk.say("two")
    assert talk.prompts[-1].endswith(
        "<|user|>\none<|assistant|>\n<think></think>\nanswer 1<|user|>\ntwo<|assistant|>"
    )
    assert contents(talk)[2:] == ["two", "answer 2"]
    talk.opened.close()


def test_settings_that_another_model_cannot_have_are_dropped_and_told(talk, glm_4_6_path, tmp_path):
    talk.say("/set think_keep on", "/think")
    told = talk.say(f"/model {glm_4_6_path}").split("\n")
    assert told[0] == "This model has no choice of think_keep: that setting is dropped."
    assert talk.settings.think is True and talk.settings.think_keep is False
    path = write_glm4moe(tmp_path / "plain.gguf", "Q8_0", n_ctx=8192, chat_template=PLAIN)
    assert talk.say(f"/model {path}").startswith("This model has no choice of think:")
    assert talk.settings.think is None
    talk.say("one")
    talk.opened.close()


def test_tools_are_not_offered_to_a_model_that_knows_none(monkeypatch, glm_4_7, tmp_path):
    (tmp_path / "tools.py").write_text('def now() -> str:\n    """The time."""\n    return "noon"\n')
    talk = new_talk(monkeypatch, glm_4_7, list(REPLIES), tools=str(tmp_path / "tools.py"))
    path = write_glm4moe(tmp_path / "plain.gguf", "Q8_0", n_ctx=8192, chat_template=PLAIN)
    assert "tells of no tools: none are offered" in talk.say(f"/model {path}")
    talk.say("one")
    assert "tells of no tools, so none are offered" in talk.say("/tools")
    talk.opened.close()


def test_a_model_that_was_left_is_closed_and_forgotten(talk, glm_4_7_path, glm_4_6_path):
    talk.say(f"/model {glm_4_6_path}", "one")
    left = weakref.ref(talk.model)
    talk.say(f"/model {glm_4_7_path}", "two")
    gc.collect()
    assert left() is None
    talk.opened.close()


def test_a_model_that_cannot_be_used_leaves_the_old_one(talk, tmp_path, glm_4_6_path):
    (tmp_path / "broken.gguf").write_bytes(b"GGUF nonsense")
    assert "broken.gguf" in refused(talk, f"/model {tmp_path / 'broken.gguf'}")
    assert "nowhere.gguf" in refused(talk, f"/model {tmp_path / 'nowhere.gguf'}")
    talk.say("one", "two")
    assert contents(talk)[-1] == "answer 2"
    assert talk.say("/model").startswith("GLM-4.7")


def test_a_broken_template_is_refused_at_the_start_and_by_model(talk, tmp_path):
    path = write_glm4moe(
        tmp_path / "broken.gguf", "Q8_0", name="GLM-4.7", n_ctx=8192, chat_template="{% for %}"
    )
    assert "template" in refused_by_chat("chat", path, stdin="hi\n")
    assert "template" in refused(talk, f"/model {path}")
    talk.say("one")
    assert contents(talk) == ["one", "answer 1"]
