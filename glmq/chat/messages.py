"""The messages of a conversation: dictionaries as chat templates and OpenAI's API take them.

Each has a `role` and a `content`, a text or a list of parts of the kind {"type": "text", "text": ...}. An
assistant's message may hold `reasoning_content` and `tool_calls`, a tool's `tool_call_id` and `name`. A
user's may hold `thinking`, true or false, which is glmq's own: whether that turn is answered with thinking.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from glmq_kernels.errors import UserError

Message = dict[str, Any]

ROLES = ("system", "user", "assistant", "tool")
REASONING_NAMES = ("reasoning_content", "thinking", "reasoning")
"""Keys for the thinking of a message, the first the usual one."""


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message's content, the parts of a list joined."""
    content = message.get("content")
    if isinstance(content, (list, tuple)):
        return "".join(map(_part_text, content))
    return "" if content is None else str(content)


def _part_text(part: object) -> str:
    if isinstance(part, Mapping):
        return str(part["text"]) if part.get("type") == "text" else ""
    return part if isinstance(part, str) else ""


def template_messages(messages: Sequence[Any]) -> list[Message]:
    """A copy of messages in the form that templates want, as transformers makes it.

    All is plain data. Keys without a value are gone, and glmq's own. Thinking has its usual name whatever
    it was called. Beyond that, arguments of tool calls are objects, also where they were JSON in a string.
    Raises UserError.
    """
    return [_template_message(plain_data(message), i) for i, message in enumerate(messages, 1)]


def _template_message(given: Any, number: int) -> Message:
    if not isinstance(given, dict):
        raise UserError(f"message {number} is no object with role and content")
    message: Message = {key: value for key, value in given.items() if value is not None}
    if isinstance(message.get("thinking"), bool):
        del message["thinking"]
    reasoning = next((message[name] for name in REASONING_NAMES if name in message), None)
    if reasoning is not None:
        message = {"thinking": reasoning, **message, "reasoning_content": reasoning}
    if "tool_calls" in message:
        if not isinstance(message["tool_calls"], (list, tuple)):
            raise UserError(f"message {number} has tool_calls that are no list")
        message["tool_calls"] = [_with_arguments(call, number) for call in message["tool_calls"]]
    return message


def _with_arguments(call: Any, number: int) -> Message:
    if not isinstance(call, dict):
        raise UserError(f"message {number} has a tool call that is no object")
    if isinstance(call.get("function"), dict):
        return {**call, "function": _with_arguments(call["function"], number)}
    return {**call, "arguments": call_arguments(call, number)}


def call_arguments(function: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The arguments of a call in message `number`: an object, JSON of one, or nothing.

    function: what holds `name` and `arguments`. Raises UserError for anything else.
    """
    arguments: Any = function.get("arguments")
    if isinstance(arguments, str) and arguments.strip():
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise UserError(
                f"message {number}: the arguments of the call of {function.get('name')} are not JSON"
            ) from None
    elif not arguments:
        return {}
    if not isinstance(arguments, dict):
        raise UserError(
            f"message {number}: the arguments of the call of {function.get('name')} are no JSON object"
        )
    return dict(arguments)


def plain_data(value: Any) -> Any:
    """A copy of JSON's types alone, so that a template meets no methods of other objects.

    Dataclasses and objects of OpenAI's client become dictionaries, numpy's numbers numbers. What is no
    data, such as an image, becomes its type's name in angle brackets.
    """
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Mapping):
        return {plain_data(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain_data(item) for item in value]
    if isinstance(value, tuple):
        return tuple(plain_data(item) for item in value)
    if isinstance(value, np.generic):
        return plain_data(value.item())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain_data(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)):
        return plain_data(value.model_dump())
    return f"<{type(value).__name__}>"


def check_messages(messages: object) -> list[Message]:
    """The messages, when each is whole. Raises UserError that names the first that is not."""
    if not isinstance(messages, list):
        raise UserError("there is no list of messages")
    calls_open = False
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise UserError(f"message {number} has no role of {', '.join(ROLES)}")
        role = message["role"]
        where = f"message {number} ({role})"
        _check_content(message, where)
        _check_extras(message, where)
        if message.get("tool_calls") is not None:
            _check_calls(message["tool_calls"], number, where)
        if role == "tool" and not calls_open:
            raise UserError(f"{where} answers no tool call before it")
        calls_open = role == "tool" or (role == "assistant" and bool(message.get("tool_calls")))
    return messages


def _check_content(message: Message, where: str) -> None:
    content = message.get("content")
    if content is None and message["role"] == "assistant":
        if not (message.get("tool_calls") or message.get("reasoning_content")):
            raise UserError(f"{where} has no content")
        return
    if isinstance(content, str):
        return
    if not isinstance(content, list):
        raise UserError(f"{where} has no content that is a text")
    for part in content:
        if isinstance(part, str):
            continue
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str):
            raise UserError(f"{where} holds a part of the type {kind}; GLM models read text only")


def _check_extras(message: Message, where: str) -> None:
    for key in ("reasoning_content", "tool_call_id", "name"):
        if not isinstance(message.get(key), (str, type(None))):
            raise UserError(f"{where} has a {key} that is no text")
    if message["role"] == "user" and not isinstance(message.get("thinking"), (bool, type(None))):
        raise UserError(f"{where} has a thinking that is neither true nor false")


def _check_calls(calls: object, number: int, where: str) -> None:
    if not isinstance(calls, list):
        raise UserError(f"{where} has tool_calls that are no list")
    for call in calls:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise UserError(f"{where} has a tool call without a name")
        call_arguments(function, number)
