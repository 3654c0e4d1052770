"""Conversations: turns taken back, edited, shortened."""

from __future__ import annotations

import pytest
from glmq_kernels.errors import GlmqError

from glmq.chat.conversation import SUMMARY, Conversation
from glmq.chat.glm_template import GLM_4_6_TEMPLATE
from glmq.chat.messages import check_messages, text_of
from glmq.chat.template import ChatTemplate


@pytest.fixture
def conversation():
    begun = Conversation()
    begun.set_system("Be brief.")
    begun.add("user", "Grüß dich")
    begun.add("assistant", "Hello")
    return begun


def test_clearing_keeps_the_system_message(conversation):
    conversation.clear()
    assert conversation.messages == [{"role": "system", "content": "Be brief."}]


def test_the_system_message_is_replaced_and_removed(conversation):
    conversation.set_system("Be long.")
    assert conversation.system == "Be long."
    assert len(conversation.messages) == 3
    conversation.set_system(None)
    assert conversation.system is None
    assert conversation.messages[0]["role"] == "user"


@pytest.fixture
def long():
    """Four turns, the second with tool calls."""
    talk = Conversation([{"role": "system", "content": "Be brief."}])
    talk.add("user", "one", thinking=False)
    talk.add("assistant", "1")
    talk.add("user", "two")
    talk.add(
        "assistant", "", reasoning_content="look", tool_calls=[{"function": {"name": "f", "arguments": {}}}]
    )
    talk.add("tool", "result", tool_call_id="c1", name="f")
    talk.add("assistant", "2")
    talk.add("user", "three")
    talk.add("assistant", "3")
    talk.add("user", "four")
    return talk


def said(conversation):
    return [text_of(message) for message in conversation.messages]


def test_a_message_holds_what_it_is_given_and_nothing_empty():
    talk = Conversation()
    talk.add("user", "hi", thinking=False)
    talk.add("assistant", "ho", reasoning_content="", tool_calls=[])
    talk.add("user", "hi", thinking=None)
    assert talk.messages == [
        {"role": "user", "content": "hi", "thinking": False},
        {"role": "assistant", "content": "ho"},
        {"role": "user", "content": "hi"},
    ]


def test_an_answer_that_holds_a_tag_of_thinking_as_text_is_shown_whole_to_the_model():
    talk = Conversation([{"role": "user", "content": "hi"}])
    talk.add("assistant", "models write </think> after it")
    assert "models write </think> after it" in ChatTemplate(GLM_4_6_TEMPLATE).render(talk.messages)


def test_turns_are_counted_by_questions(long):
    assert long.n_turns == 4
    assert Conversation().n_turns == 0


def test_undo_takes_back_a_turn_with_its_calls_and_gives_the_question(long):
    assert long.undo() == "four"
    assert long.undo() == "three"
    assert long.undo() == "two"
    assert said(long) == ["Be brief.", "one", "1"]


def test_undo_gives_the_text_of_a_question_in_parts():
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert Conversation([{"role": "user", "content": parts}]).undo() == "ab"


def test_retry_leaves_the_question_and_may_be_done_before_an_answer(long):
    long.retry()
    assert said(long)[-2:] == ["3", "four"]
    del long.messages[7:]
    long.retry()
    assert said(long) == ["Be brief.", "one", "1", "two"]


def test_editing_replaces_the_question_and_keeps_its_switch(long):
    del long.messages[3:]
    long.edit("uno")
    assert long.messages[1:] == [{"role": "user", "content": "uno", "thinking": False}]


@pytest.mark.parametrize("operation", ("undo", "retry"))
def test_without_a_question_there_is_nothing_to_take_back(operation):
    talk = Conversation([{"role": "system", "content": "Be brief."}])
    with pytest.raises(GlmqError, match="no message of yours"):
        getattr(talk, operation)()
    with pytest.raises(GlmqError, match="no message of yours"):
        talk.edit("x")


def test_the_oldest_turns_go_whole_and_the_system_message_stays(long):
    assert [text_of(message) for message in long.oldest(2)] == ["one", "1", "two", "", "result", "2"]
    long.drop_oldest(2)
    assert said(long) == ["Be brief.", "three", "3", "four"]
    check_messages(long.messages)


def test_a_greeting_before_the_first_question_goes_with_the_first_turn(long):
    long.messages.insert(1, {"role": "assistant", "content": "Welcome"})
    long.drop_oldest(1)
    assert said(long)[:2] == ["Be brief.", "two"]


def test_a_summary_takes_the_place_of_the_oldest_turns_as_a_turn_of_its_own(long):
    long.replace_oldest(2, " They counted.\n")
    assert said(long)[:2] == ["Be brief.", SUMMARY + "They counted."]
    assert said(long)[3:] == ["three", "3", "four"]
    assert [message["role"] for message in long.messages[1:4]] == ["user", "assistant", "user"]
    long.replace_oldest(3, "They counted to four.")
    assert long.n_turns == 1


@pytest.mark.parametrize("n", (0, -1, 5))
def test_turns_that_are_not_there_cannot_go(long, n):
    for operation in (long.oldest, long.drop_oldest, lambda n: long.replace_oldest(n, "x")):
        with pytest.raises(GlmqError, match="has 4"):
            operation(n)
    assert long.n_turns == 4


def test_the_message_of_a_developer_is_the_systems():
    talk = Conversation([{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "hi"}])
    assert talk.system == "Be brief."
    talk.clear()
    assert talk.system == "Be brief." and talk.n_turns == 0
    talk.set_system("Be long.")
    assert talk.messages == [{"role": "system", "content": "Be long."}]
