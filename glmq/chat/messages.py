"""The messages of a conversation: dictionaries as chat templates and OpenAI's API take them.

Each has a `role` and a `content`, a text or a list of parts of the kind {"type": "text", "text": ...}. An
assistant's message may hold `reasoning_content` and `tool_calls`, a tool's `tool_call_id` and `name`. A
user's may hold `thinking`, true or false, which is glmq's own: whether that turn is answered with thinking.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from glmq_kernels.errors import GlmqError

from .tool_results import function_of, in_order_of_calls

Message = dict[str, Any]

ROLES = ("system", "user", "assistant", "tool", "developer")
SYSTEM_ROLES = ("system", "developer")
"""OpenAI's newer name for the system is another word for the same."""

TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Types of parts that are text, and the key that holds it."""

REASONING_NAMES = ("reasoning_content", "thinking", "reasoning")
"""Keys for the thinking of a message, the first the usual one."""

OTHER_MEDIA = ("images", "image", "audio", "video", "videos", "files")
"""Keys beside the content with which some APIs send what a model for text cannot read."""


def text_of(message: Mapping[str, Any]) -> str:
    """The text of a message's content, the parts of a list joined; a refusal where there is no content."""
    content = message.get("content")
    if isinstance(content, (list, tuple)):
        return "".join(map(_part_text, content))
    if not content:
        content = message.get("refusal") or content
    return "" if content is None else str(content)


def reasoning_of(message: Mapping[str, Any]) -> str:
    """The thinking of a message, whatever its key is called."""
    thoughts = (message.get(name) for name in REASONING_NAMES)
    return next((text for text in thoughts if isinstance(text, str) and text), "")


def _part_text(part: object) -> str:
    if isinstance(part, Mapping):
        key = TEXT_PARTS.get(str(part.get("type")))
        return str(part[key]) if key in part else ""
    return part if isinstance(part, str) else ""


def check_messages(messages: object) -> list[Message]:
    """The messages, when each is whole and all of it can reach a model.

    Raises GlmqError that names the first that is not.
    """
    if not isinstance(messages, list):
        raise GlmqError("there is no list of messages")
    for number, message in enumerate(messages, 1):
        if not isinstance(message, dict):
            raise GlmqError(f"message {number} is no object with role and content")
        if message.get("role") not in ROLES:
            role = message.get("role")
            has = f", but {role}" if isinstance(role, str) else ""
            raise GlmqError(f"message {number} has no role of {', '.join(ROLES)}{has}")
        where = f"message {number} ({message['role']})"
        _check_content(message, where)
        _check_extras(message, where)
        if message.get("tool_calls") is not None:
            _check_calls(message, number, where)
    in_order_of_calls(messages)
    return messages


def _check_content(message: Message, where: str) -> None:
    content = message.get("content")
    for key in OTHER_MEDIA:
        if message.get(key):
            raise GlmqError(f"{where} holds {key}; GLM models read text only")
    if content is None and message["role"] == "assistant":
        others = ("tool_calls", "refusal", *REASONING_NAMES)
        if not any(message.get(key) for key in others):
            raise GlmqError(f"{where} has no content")
        return
    if content is None:
        raise GlmqError(f"{where} has no content")
    if isinstance(content, str):
        return
    if not isinstance(content, (list, tuple)):
        raise GlmqError(f"{where} has no content that is a text or a list of parts")
    for part in content:
        check_part(part, where)


def check_part(part: object, where: str) -> None:
    """Raise GlmqError unless a part of a content is text. where: names its message."""
    if isinstance(part, str):
        return
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(kind, str) or kind not in TEXT_PARTS:
        raise GlmqError(f"{where} holds a part of the type {kind}; GLM models read text only")
    key = TEXT_PARTS[kind]
    if not isinstance(part.get(key), str):
        raise GlmqError(f"{where} holds a part of the type {kind} whose {key} is no text")


def _check_extras(message: Message, where: str) -> None:
    role = message["role"]
    texts = ["tool_call_id", "name", "refusal", "reasoning_content"]
    for key in [*texts, *REASONING_NAMES] if role == "assistant" else texts:
        if not isinstance(message.get(key), (str, type(None))):
            raise GlmqError(f"{where} has a {key} that is no text")
    if role == "user" and not isinstance(message.get("thinking"), (bool, type(None))):
        raise GlmqError(f"{where} has a thinking that is neither true nor false")
    if message.get("function_call") is not None:
        raise GlmqError(f"{where} has a function_call, the older form of a call; write it as tool_calls")
    if message.get("tool_calls") and role != "assistant":
        raise GlmqError(f"{where} has tool_calls, which only an assistant's message has")


def _check_calls(message: Message, number: int, where: str) -> None:
    calls = message["tool_calls"]
    if not isinstance(calls, (list, tuple)):
        raise GlmqError(f"{where} has tool_calls that are no list")
    for call in calls:
        if not isinstance(call, dict):
            raise GlmqError(f"{where} has a tool call without a name")
        if call.get("type") not in (None, "function"):
            raise GlmqError(f"{where} has a tool call of the type {call['type']}; GLM models call functions")
        function = function_of(call)
        if not isinstance(function.get("name"), str):
            raise GlmqError(f"{where} has a tool call without a name")
        if not isinstance(call.get("id"), (str, type(None))):
            raise GlmqError(f"{where} has a tool call with an id that is no text")
        call_arguments(function, number)


def call_arguments(function: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The arguments of a call in message `number`: an object, JSON of one, or nothing.

    function: what holds `name` and `arguments`. Raises GlmqError for anything else.
    """
    arguments: Any = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments) if arguments.strip() else None
        except (ValueError, RecursionError):
            raise GlmqError(
                f"message {number}: the arguments of the call of {function.get('name')} are not JSON"
            ) from None
    if arguments is None:
        return {}
    if not isinstance(arguments, dict):
        raise GlmqError(
            f"message {number}: the arguments of the call of {function.get('name')} are no JSON object"
        )
    return dict(arguments)
