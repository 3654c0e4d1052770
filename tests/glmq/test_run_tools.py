"""`Model.run_tools`: the model and functions of the program take turns until the model answers."""

from __future__ import annotations

import asyncio
import threading

import pytest

import glmq
from glmq.tools import ToolBox, ToolCallResult, function_tools

from .scripted_chat import Script
from .talks import call
from .test_closing import SECONDS


def weather(city: str) -> str:
    """Tell the weather of a city."""
    return f"sunny in {city}"


@pytest.fixture
def messages():
    return [{"role": "user", "content": "How is the weather in Bonn?"}]


@pytest.fixture
def model(glm_4_7, monkeypatch):
    """Calls `weather` once, then answers."""
    script = Script([f"Hm.</think>{call('weather', city='Bonn')}", "So.</think>It is sunny."])
    monkeypatch.setattr(
        type(glm_4_7), "generate", lambda model, prompt, **more: script.generate(model, prompt, **more)
    )
    glm_4_7.script = script
    return glm_4_7


def test_the_model_answers_with_what_a_function_told_it(model, messages):
    turn = model.run_tools(messages, [weather], thinking=True)
    assert turn.run() == "It is sunny."
    assert [message["role"] for message in messages] == ["user", "assistant", "tool", "assistant"]
    assert messages[2]["content"] == "sunny in Bonn"
    assert turn.messages == messages[1:]
    assert "sunny in Bonn" in model.script.prompts[1]
    assert turn.usage.reasoning_tokens > 0 and turn.finish_reason == "stop"


def test_its_events_tell_results_of_calls(model, messages):
    with ToolBox([function_tools([weather])]) as toolbox:
        events = list(model.run_tools(messages, toolbox).events())
    [result] = [event for event in events if isinstance(event, ToolCallResult)]
    assert (result.name, result.text, result.failed) == ("weather", "sunny in Bonn", False)


def test_a_call_may_be_refused(model, messages):
    asked = []
    model.run_tools(messages, [weather], approve=lambda call: asked.append(call.name) or "not today").run()
    assert asked == ["weather"]
    assert messages[2]["content"] == "The user refused this call, saying: not today"


def test_rounds_have_a_limit(model, messages):
    model.script.replies.insert(0, model.script.replies[0])
    turn = model.run_tools(messages, [weather], max_rounds=1)
    turn.run()
    assert turn.out_of_rounds and "limit of rounds" in messages[-1]["content"]


def test_wrong_arguments_are_refused_before_anything_runs(model, messages):
    with pytest.raises(TypeError, match=r"messages is a tuple; it must be a list, which is appended to"):
        model.run_tools(tuple(messages), [weather])
    with pytest.raises(TypeError, match=r"run_tools\(\) got .* 'aprove'; did you mean approve\?"):
        model.run_tools(messages, [weather], aprove=None)
    with pytest.raises(TypeError, match="approve is 5"):
        model.run_tools(messages, [weather], approve=5)
    with pytest.raises(glmq.GlmqError, match="max_rounds is 0"):
        model.run_tools(messages, [weather], max_rounds=0)
    with pytest.raises(glmq.GlmqError, match="cannot be a tool"):
        model.run_tools(messages, [lambda city: city])


def test_on_an_event_loop_approval_may_be_awaited(model, messages):
    asked = []

    async def approve(call):
        await asyncio.sleep(0)
        asked.append((call.name, threading.get_ident()))
        return True

    async def answered():
        turn = await model.arun_tools(messages, [weather], approve=approve)
        return await turn.arun()

    assert asyncio.run(answered()) == "It is sunny."
    assert asked == [("weather", threading.get_ident())]


def test_cancelling_the_task_ends_the_wait_for_approval(model, messages):
    async def cancelled():
        asked = asyncio.Event()

        async def approve(call):
            asked.set()
            await asyncio.sleep(SECONDS)

        turn = await model.arun_tools(messages, [weather], approve=approve)
        task = asyncio.create_task(turn.arun())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return turn

    turn = asyncio.run(cancelled())
    assert turn.done and turn.finish_reason == "cancelled"
    assert "refused" in messages[2]["content"] or "stopped" in messages[2]["content"]
