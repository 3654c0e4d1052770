"""A turn with tools: the model answers or calls tools, and goes on from their results until it answers."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from .tool import ToolResult
from .toolbox import ToolBox

MAX_ROUNDS = 16

Message = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """A call that a model asks for. problem: why it cannot be run as it came, such as its missing end."""

    id: str
    name: str
    arguments: dict[str, Any]
    problem: str | None = None


@dataclass(frozen=True)
class ToolCallResult:
    """What a call gave back. index: of the call in its message. refused: the user did not want it."""

    index: int
    name: str
    text: str
    failed: bool
    refused: bool


Approve = Callable[[Call], bool | str]
"""Whether a call may run; a text is a refusal with its reason."""

E = TypeVar("E")
Respond = Callable[[list[Message]], Generator[E, None, Message]]
"""Streams the model's next message and returns it, with the keys that chat templates take."""

STOPPED = ToolResult("Error: no result, the user stopped the turn", failed=True)
OVER_LIMIT = ToolResult("Error: not run, the limit of rounds of calls in one turn is reached", failed=True)


def rounds(
    messages: list[Message], respond: Respond[E], toolbox: ToolBox, *, approve: Approve, max_rounds: int
) -> Generator[E | ToolCallResult, None, bool]:
    """The rounds of a turn as they come: what `respond` streams, and the results of calls.

    It returns what `run_rounds` returns, and does the same to `messages`, also when it is closed.
    """
    for n_rounds in range(max_rounds + 1):
        try:
            message = yield from respond(messages)
            messages.append(message)
            for index, call in enumerate(calls_of(message)):
                result = OVER_LIMIT if n_rounds == max_rounds else _result(call, toolbox, approve)
                messages.append(_tool_message(call, result))
                yield ToolCallResult(index, call.name, result.text, result.failed, result.refused)
        finally:
            fill_missing_results(messages)
        if not message.get("tool_calls"):
            return True
    return False


def run_rounds(
    messages: list[Message],
    respond: Callable[[list[Message]], Message],
    toolbox: ToolBox,
    *,
    approve: Approve,
    on_result: Callable[[Call, ToolResult], None] | None = None,
    max_rounds: int = MAX_ROUNDS,
) -> bool:
    """Let the model answer, running the tools that it calls; gives False when `max_rounds` ended it.

    respond: gives the model's next message. Each is appended to `messages` as it is, its reasoning included,
    and after it a `tool` message for each of its calls, in their order. A round is one message with calls.
    After `max_rounds` of them the model may still answer; what it calls then is not run.

    A refusal is a result like another, no failure.

    A call that cannot be made (no such tool, wrong or unfinished arguments) is a failed result without
    `approve` being asked. Whatever is raised meanwhile, KeyboardInterrupt above all, leaves every call
    in `messages` with a result: those that did not come to an end say that the user stopped the turn.
    """

    def at_once(messages: list[Message]) -> Generator[ToolCallResult, None, Message]:
        yield from ()
        return respond(messages)

    turn = rounds(messages, at_once, toolbox, approve=approve, max_rounds=max_rounds)
    while True:
        try:
            told = next(turn)
        except StopIteration as end:
            return bool(end.value)
        if on_result:
            calls, _ = _last_calls(messages)
            on_result(calls[told.index], ToolResult(told.text, told.failed, told.refused))


def calls_of(message: Message) -> Iterator[Call]:
    """The calls of a message of the model."""
    for call in message.get("tool_calls") or ():
        function = call["function"]
        yield Call(call["id"], function["name"], function["arguments"], call.get("problem"))


def fill_missing_results(messages: list[Message], result: ToolResult = STOPPED) -> None:
    """Append `result` for those of the last calls that have none, so that the conversation can go on."""
    calls, n_results = _last_calls(messages)
    messages.extend(_tool_message(call, result) for call in calls[n_results:])


def _last_calls(messages: list[Message]) -> tuple[list[Call], int]:
    """The calls of the last message of the model, and how many have a result; none where others follow it."""
    n_results = 0
    for message in reversed(messages):
        if message["role"] == "tool":
            n_results += 1
        elif message["role"] == "assistant":
            return list(calls_of(message)), n_results
        else:
            break
    return [], 0


def _result(call: Call, toolbox: ToolBox, approve: Approve) -> ToolResult:
    problem = call.problem or toolbox.problem(call.name, call.arguments)
    if problem is not None:
        return ToolResult(f"Error: {problem}", failed=True)
    answer = approve(call)
    if answer is True:
        return toolbox.call(call.name, call.arguments)
    reason = f", saying: {answer}" if answer else ""
    return ToolResult(f"The user refused this call{reason}", refused=True)


def _tool_message(call: Call, result: ToolResult) -> Message:
    return {"role": "tool", "tool_call_id": call.id, "name": call.name, "content": result.text}
