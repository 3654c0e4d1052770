"""Thinking, content, calls and their ends in what a real small model says: forms, never right answers."""

from __future__ import annotations

import pytest

import glmq
from glmq.chat.events import ContentText, ReasoningText
from glmq.demo import DEMOS
from glmq.tools import load_tools

SURE = glmq.Sampling(temperature=0)
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = [{"role": "user", "content": "What is the weather in Paris?"}]


@pytest.fixture(scope="module")
def model():
    with glmq.load("demo-tools") as loaded:
        yield loaded


@pytest.fixture(scope="module")
def tools():
    source = load_tools(DEMOS["demo-tools"].tools)
    yield [tool.definition for tool in source.tools]
    source.close()


def answer_of(model, messages=QUESTION, **arguments):
    answer = model.chat(
        messages, sampling=SURE, session=model.session(), **{"max_tokens": 200, "thinking": True} | arguments
    )
    answer.run()
    return answer


@pytest.fixture(scope="module")
def whole(model):
    answer = answer_of(model)
    assert answer.reasoning and answer.content and answer.finish_reason == "stop"
    return answer


def test_every_cut_is_thinking_first_and_then_content(model, whole):
    for n in range(1, len(whole.generation.tokens)):
        cut = answer_of(model, max_tokens=n)
        assert whole.reasoning.startswith(cut.reasoning) and whole.content.startswith(cut.content)
        assert cut.ended_in_thinking == ("</think>" not in cut.generation.text)
        assert cut.finish_reason == "length" and "\ufffd" not in cut.generation.text


def test_thinking_that_was_cut_goes_on_where_it_was(model, whole):
    cut = answer_of(model, max_tokens=3)
    assert cut.ended_in_thinking
    messages = [*QUESTION, cut.message]
    rest = answer_of(model, messages, continue_final_message="reasoning_content")
    assert not rest.ended_in_thinking and rest.content
    assert "</think>" not in rest.content + rest.reasoning


def test_a_stop_text_that_stands_in_the_thinking_too_ends_only_the_content(model, whole):
    word = next(word for word in whole.reasoning.split() if word in whole.content)
    stopped = answer_of(model, stop=word)
    assert stopped.reasoning == whole.reasoning
    assert stopped.content == whole.content.partition(word)[0]
    assert stopped.finish_reason == "stop"


def test_events_are_the_answer(model):
    answer = model.chat(QUESTION, sampling=SURE, session=model.session(), max_tokens=200, thinking=True)
    events = list(answer.events())
    for kind, text in ((ReasoningText, answer.reasoning), (ContentText, answer.content)):
        assert "".join(event.text for event in events if isinstance(event, kind)) == text


@pytest.mark.parametrize("thinking", (True, False))
def test_a_call_can_be_run_and_is_what_ended_it(model, tools, thinking):
    answer = answer_of(model, WEATHER, tools=tools, thinking=thinking)
    [call] = answer.tool_calls
    assert "problem" not in call and call["function"]["name"] in {each["function"]["name"] for each in tools}
    assert answer.finish_reason == "tool_calls"
    cut = answer_of(
        model, WEATHER, tools=tools, thinking=thinking, max_tokens=len(answer.generation.tokens) - 3
    )
    assert cut.finish_reason == "length"
    assert all("problem" in call for call in cut.tool_calls)
