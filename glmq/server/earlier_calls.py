"""Calls in a conversation that a client gives back, as templates can write them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..chat.messages import Message
from ..chat.tool_results import function_of


def readable_calls(messages: Sequence[Message]) -> list[Message]:
    """Messages in which each call has an object of arguments.

    A call that a limit has cut has arguments that are no whole JSON. Clients give it back with what went
    wrong, and the model is to see what it wrote: its text becomes the argument `arguments`.
    """
    return [_readable(each) if isinstance(each, Mapping) else each for each in messages]


def _readable(message: Mapping[str, Any]) -> Message:
    calls = message.get("tool_calls")
    if not isinstance(calls, list) or not any(map(_is_cut, calls)):
        return dict(message)
    return {**message, "tool_calls": [_mended(call) if _is_cut(call) else call for call in calls]}


def _is_cut(call: Any) -> bool:
    text = function_of(call).get("arguments") if isinstance(call, dict) else None
    if not isinstance(text, str) or not text.strip():
        return False
    try:
        return not isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return True


def _mended(call: dict[str, Any]) -> dict[str, Any]:
    function = dict(function_of(call))
    function["arguments"] = {"arguments": function["arguments"]}
    return {**call, "function": function}
