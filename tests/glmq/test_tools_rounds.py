"""A turn with tools, of a model that says what a script says."""

from __future__ import annotations

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glmq.tools import Call, Tool, ToolBox, ToolResult, ToolSource, fill_missing_results, run_rounds

ADD = {
    "type": "object",
    "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
    "required": ["a"],
}


def add(arguments, time_limit):
    return str(arguments["a"] + arguments.get("b", 1))


def interrupted(arguments, time_limit):
    raise KeyboardInterrupt


@pytest.fixture
def toolbox():
    tools = (Tool("add", "Adds.", ADD, add, "x"), Tool("stop", "Stops.", ADD, interrupted, "x"))
    return ToolBox([ToolSource(tools)])


def calling(*calls, **more):
    """A message with calls: (id, name, arguments) or (id, name, arguments, problem)."""
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [
            {"id": call[0], "type": "function", "function": {"name": call[1], "arguments": call[2]}}
            | ({"problem": call[3]} if len(call) > 3 else {})
            for call in calls
        ],
        **more,
    }


def saying(text):
    return {"role": "assistant", "content": text}


class Script:
    """Answers with one message after another and remembers what it was given."""

    def __init__(self, *answers):
        self.seen = []
        self._answers = iter(answers)

    def __call__(self, messages):
        self.seen.append(copy.deepcopy(messages))
        return next(self._answers)


def start():
    return [{"role": "user", "content": "What is 1 + 1?"}]


def run(toolbox, *answers, messages=None, approve=lambda call: True, **options):
    messages = start() if messages is None else messages
    ended = run_rounds(messages, Script(*answers), toolbox, approve=approve, **options)
    return messages, ended


def results(messages):
    return [
        (message["tool_call_id"], message["content"]) for message in messages if message["role"] == "tool"
    ]


def test_an_answer_without_calls_ends_the_turn(toolbox):
    assert run(toolbox, saying("2")) == ([*start(), saying("2")], True)


def test_a_result_follows_its_call_and_the_model_goes_on(toolbox):
    messages, ended = run(toolbox, calling(("c1", "add", {"a": 1})), saying("2"))
    assert ended
    assert messages == [
        *start(),
        calling(("c1", "add", {"a": 1})),
        {"role": "tool", "tool_call_id": "c1", "name": "add", "content": "2"},
        saying("2"),
    ]


def test_several_calls_keep_their_order_and_rounds_follow_each_other(toolbox):
    messages, _ = run(
        toolbox,
        calling(("c1", "add", {"a": 1}), ("c2", "add", {"a": 5, "b": 5})),
        calling(("c3", "add", {"a": 10})),
        saying("done"),
    )
    assert results(messages) == [("c1", "2"), ("c2", "10"), ("c3", "11")]


def test_reasoning_stays_with_its_message(toolbox):
    script = Script(calling(("c1", "add", {"a": 1}), reasoning_content="I must add."), saying("2"))
    run_rounds(start(), script, toolbox, approve=lambda call: True)
    assert script.seen[1][1]["reasoning_content"] == "I must add."


@pytest.mark.parametrize(
    ("answer", "text"),
    (
        (False, "The user refused this call"),
        ("not today", "The user refused this call, saying: not today"),
        ("", "The user refused this call"),
    ),
)
def test_a_refusal_is_told_to_the_model_which_goes_on(toolbox, answer, text):
    messages, ended = run(
        toolbox, calling(("c1", "add", {"a": 1})), saying("ok"), approve=lambda call: answer
    )
    assert results(messages) == [("c1", text)]
    assert ended


def test_a_refusal_is_no_failure(toolbox):
    told = []
    run(
        toolbox, calling(("c1", "add", {"a": 1})), saying("ok"),
        approve=lambda call: False, on_result=lambda call, result: told.append(result),
    )  # fmt: skip
    assert told == [ToolResult("The user refused this call", refused=True)]


def test_each_call_is_asked_about_as_it_will_run(toolbox):
    asked = []
    run(
        toolbox,
        calling(("c1", "add", {"a": 1}), ("c2", "add", {"a": 2})),
        saying("ok"),
        approve=lambda call: asked.append(call) or True,
    )
    assert asked == [Call("c1", "add", {"a": 1}), Call("c2", "add", {"a": 2})]


@pytest.mark.parametrize(
    ("call", "told"),
    (
        (("c1", "subtract", {}), "there is no tool subtract"),
        (("c1", "add", {}), "'a' is a required property"),
        (("c1", "add", {"a": 1}, "the call has no end"), "Error: the call has no end"),
    ),
)
def test_calls_that_cannot_be_made_are_not_asked_about(toolbox, call, told):
    messages, _ = run(toolbox, calling(call), saying("sorry"), approve=lambda call: pytest.fail("asked"))
    [(_, text)] = results(messages)
    assert told in text


def test_results_are_reported_as_they_come(toolbox):
    told = []
    run(
        toolbox,
        calling(("c1", "add", {"a": 1}), ("c2", "no", {})),
        saying("ok"),
        on_result=lambda call, result: told.append((call.id, result.failed)),
    )
    assert told == [("c1", False), ("c2", True)]


def test_after_the_limit_the_model_may_answer_but_not_call(toolbox):
    again = [calling((f"c{i}", "add", {"a": i})) for i in range(3)]
    messages, ended = run(toolbox, *again[:2], saying("enough"), max_rounds=2)
    assert ended
    messages, ended = run(toolbox, *again, max_rounds=2)
    assert not ended
    assert [text for _, text in results(messages)][:2] == ["1", "2"]
    assert "limit of rounds" in results(messages)[2][1]


def test_ctrl_c_in_a_tool_leaves_every_call_with_a_result(toolbox):
    messages = start()
    calls = calling(("c1", "add", {"a": 1}), ("c2", "stop", {"a": 1}), ("c3", "add", {"a": 1}))
    with pytest.raises(KeyboardInterrupt):
        run(toolbox, calls, messages=messages)
    assert results(messages) == [
        ("c1", "2"),
        ("c2", "Error: no result, the user stopped the turn"),
        ("c3", "Error: no result, the user stopped the turn"),
    ]


@pytest.mark.parametrize("where", ("approve", "on_result"))
def test_ctrl_c_in_a_callback_leaves_every_call_with_a_result(toolbox, where):
    def interrupt(*_):
        raise KeyboardInterrupt

    messages = start()
    calls = calling(("c1", "add", {"a": 1}), ("c2", "add", {"a": 1}))
    with pytest.raises(KeyboardInterrupt):
        run(toolbox, calls, messages=messages, **{where: interrupt})
    assert [id for id, _ in results(messages)] == ["c1", "c2"]


def test_ctrl_c_while_the_model_writes_leaves_what_was_there(toolbox):
    messages = start()

    def respond(messages):
        if len(messages) == 1:
            return calling(("c1", "add", {"a": 1}))
        messages.append(calling(("c2", "add", {}, "unfinished")))  # what there was of the message
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_rounds(messages, respond, toolbox, approve=lambda call: True)
    assert results(messages) == [("c1", "2"), ("c2", "Error: no result, the user stopped the turn")]


@given(st.integers(0, 5), st.integers(0, 5))
def test_missing_results_are_filled_whatever_is_there(n_calls, n_results):
    n_results = min(n_calls, n_results)
    messages = [*start(), calling(*((f"c{i % 2}", "add", {"a": i}) for i in range(n_calls)))]
    for call in messages[1]["tool_calls"][:n_results]:
        messages.append({"role": "tool", "tool_call_id": call["id"], "name": "add", "content": "x"})
    fill_missing_results(messages, ToolResult("missing"))
    assert [id for id, _ in results(messages)] == [call["id"] for call in messages[1]["tool_calls"]]
    assert [text for _, text in results(messages)] == ["x"] * n_results + ["missing"] * (n_calls - n_results)


def test_nothing_is_filled_after_other_messages():
    for messages in ([], start(), [*start(), saying("2")], [calling(("c1", "add", {})), *start()]):
        before = copy.deepcopy(messages)
        fill_missing_results(messages)
        assert messages == before
