"""Commands of a chat that tell how full its context is, and that make room in it."""

from __future__ import annotations

import pytest
from glmq_kernels.errors import GlmqError

import glmq

from ..talks import new_talk
from .told_by_commands import REPLIES, contents, refused


def test_tokens_are_counted(talk, glm_4_7):
    assert talk.say("/tokens some text") == f"{len(glm_4_7.tokenize('some text'))} tokens."
    assert talk.say("/tokens") == "context 0 of 8,192 tokens (0%), 0 turns."
    talk.say("one")
    used = len(glm_4_7.tokenize(talk.prompts[0].removesuffix("<think>") + REPLIES[0]))
    assert talk.say("/tokens") == f"context {used} of 8,192 tokens (0%), 1 turn."
    talk.say("two", "/undo")
    assert talk.say("/tokens") == f"context {used} of 8,192 tokens (0%), 1 turn."
    talk.say("/clear")
    assert talk.say("/tokens") == "context 0 of 8,192 tokens (0%), 0 turns."


def test_compact_puts_a_summary_in_place_of_the_older_half(talk):
    talk.script.replies[4:] = ["</think>They counted to two.", "</think>answer 6"]
    talk.say("/system Be brief.", "one" + 100 * " and one", "two", "three", "four")
    before = talk.chat.n_used
    assert talk.say("/compact") == (
        "Summarised the oldest 2 turns; the conversation has 3 turns now,"
        f" {talk.chat.n_used:,} tokens instead of {before:,}.\n\nThey counted to two."
    )
    asked = talk.prompts[4]
    assert "answer 2" in asked and "answer 3" not in asked and "Be brief." not in asked
    assert contents(talk) == [
        "Be brief.",
        "Summary of our conversation so far:\n\nThey counted to two.",
        "I go on from there.",
        *("three", "answer 3", "four", "answer 4"),
    ]
    talk.say("five")
    assert "They counted to two." in talk.prompts[-1]


def test_compact_drop_forgets_the_older_half(talk):
    talk.say("one", "two", "three")
    before = talk.chat.n_used
    assert talk.say("/compact drop") == (
        "Dropped the oldest 1 turn; the conversation has 2 turns now,"
        f" {talk.chat.n_used} tokens instead of {before}."
    )
    assert contents(talk) == ["two", "answer 2", "three", "answer 3"]
    assert "/compact drop" in refused(talk, "/compact now")
    talk.say("/compact drop")
    assert "/undo" in refused(talk, "/compact")


def test_a_summary_that_is_longer_than_what_it_stands_for_changes_nothing(talk):
    talk.script.replies[2:] = ["</think>" + "They talked for a long time. " * 5]
    talk.say("one", "two")
    before = list(talk.chat.messages)
    assert "more room" in refused(talk, "/compact")
    assert talk.chat.messages == before


def test_no_summary_changes_nothing(talk):
    talk.script.replies[2:] = ["</think>"]
    talk.say("one", "two")
    assert "/compact drop" in refused(talk, "/compact")
    assert contents(talk) == ["one", "answer 1", "two", "answer 2"]


def test_a_summary_that_has_no_room_changes_nothing(monkeypatch, glm_4_7_path):
    with glmq.load(glm_4_7_path, n_ctx=300) as model:
        talk = new_talk(monkeypatch, model, list(REPLIES))
        talk.say("x" * 140, "y" * 80)
        assert "/compact drop" in refused(talk, "/compact")
        assert talk.chat.conversation.n_turns == 2
        assert "Dropped" in talk.say("/compact drop")


def test_a_context_that_gets_full_is_told_before_and_when_it_is(monkeypatch, glm_4_7_path, capsys):
    with glmq.load(glm_4_7_path, n_ctx=128) as model:
        replies = ["</think>" + letter * 80 for letter in "xyy"]
        talk = new_talk(monkeypatch, model, [*replies, "", "", "</think>ok"])
        talk.say("one")
        assert "full" not in capsys.readouterr().err
        talk.say("/set max_tokens 20", "two")
        assert (
            "context 113 of 128 tokens (88%): /compact makes room, before it is full."
            in capsys.readouterr().err
        )
        talk.say("/undo", "/set max_tokens off", "two")
        assert "The context of 128 tokens is full: /compact makes room." in capsys.readouterr().err
        assert contents(talk)[-1].startswith("yyy")
        with pytest.raises(GlmqError, match="do not fit.*/compact makes room"):
            talk.say("three")
        assert len(contents(talk)) == 4
        talk.say("/compact drop", "/clear")
        with pytest.raises(GlmqError, match="do not fit.*or the text shorter$"):
            talk.say("x" * 200)
        talk.say("three")
        assert contents(talk) == ["three", "ok"]
