"""Messages in the one form that every chat template takes, whatever form of OpenAI's API they came in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from glmq_kernels.errors import GlmqError

from .messages import REASONING_NAMES, SYSTEM_ROLES, Message, call_arguments, check_part, text_of
from .plain_data import plain_data
from .tool_results import function_of, in_order_of_calls


def plain_messages(messages: Iterable[Any]) -> list[Any]:
    """A copy of the messages as plain data. Raises GlmqError for what is no data, such as an image."""
    return [plain_data(message, f"message {i}") for i, message in enumerate(messages, 1)]


def template_messages(messages: Iterable[Any]) -> list[Message]:
    """A copy of messages for a template, of which nothing is lost that a model can read.

    All is plain data, and keys without a value are gone. A content is a text: some templates print lists of
    parts as Python writes them, others fail. `developer` is `system`, which every template knows. Thinking
    has its usual name whatever it was called. Arguments of calls are objects, also where they were JSON in a
    string, and results stand in the order of their calls. Raises GlmqError.
    """
    copies = [_template_message(message, i) for i, message in enumerate(plain_messages(messages), 1)]
    return in_order_of_calls(copies)


def with_thinking_apart(message: Message) -> Message:
    """An answer that begins with its thinking between tags, as models write it, with these as two texts."""
    content = message.get("content")
    if message.get("role") != "assistant" or "reasoning_content" in message or not isinstance(content, str):
        return message
    before, opening, rest = content.partition("<think>")
    thoughts, closing, answer = rest.partition("</think>")
    if before.strip() or not (opening and closing):
        return message
    return {**message, "reasoning_content": thoughts.strip("\n"), "content": answer.lstrip("\n")}


def _template_message(given: Any, number: int) -> Message:
    if not isinstance(given, dict):
        raise GlmqError(f"message {number} is no object with role and content")
    message: Message = {key: value for key, value in given.items() if value is not None}
    if message.get("role") in SYSTEM_ROLES:
        message["role"] = SYSTEM_ROLES[0]
    content = message.get("content")
    if isinstance(content, (list, tuple)):
        for part in content:
            check_part(part, f"message {number}")
    if isinstance(content, (list, tuple)) or "refusal" in message:
        message["content"] = text_of(message)
    reasoning = next((message[name] for name in REASONING_NAMES if isinstance(message.get(name), str)), None)
    if reasoning is not None:
        message = {"thinking": reasoning, **message, "reasoning_content": reasoning}
    if "tool_calls" in message:
        if not isinstance(message["tool_calls"], (list, tuple)):
            raise GlmqError(f"message {number} has tool_calls that are no list")
        message["tool_calls"] = [_with_arguments(call, number) for call in message["tool_calls"]]
    return message


def _with_arguments(call: Any, number: int) -> Message:
    if not isinstance(call, dict):
        raise GlmqError(f"message {number} has a tool call that is no object")
    function = function_of(call)
    copy = {**function, "arguments": call_arguments(function, number)}
    return copy if function is call else {**call, "function": copy}
