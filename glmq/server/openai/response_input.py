"""Items of a response's input as messages: what follows one another of an assistant's turn becomes one."""

from __future__ import annotations

import logging
from typing import Any

from ...chat.messages import Message
from ..api_error import BadRequest
from ..fields import Fields

log = logging.getLogger("glmq.server")

TEXT_KINDS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


def input_messages(fields: Fields) -> list[Message]:
    """The messages that `input` holds. Items of services that are not here are passed over."""
    value = fields.values.get("input")
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    messages: list[Message] = []
    for i, each in enumerate(fields.objects("input")):
        item = Fields(each, f"input.{i}")
        kind = item.text("type", "message")
        if kind == "message":
            _take_message(item, messages)
        elif kind == "reasoning":
            turn = _turn(messages)
            turn["reasoning_content"] = turn.get("reasoning_content", "") + _reasoning(item)
        elif kind == "function_call":
            function = {"name": item.required_text("name"), "arguments": item.text("arguments", "{}")}
            call = {"id": item.required_text("call_id"), "type": "function", "function": function}
            _turn(messages).setdefault("tool_calls", []).append(call)
        elif kind == "function_call_output":
            result = {"role": "tool", "tool_call_id": item.required_text("call_id"), "content": _output(item)}
            messages.append(result)
        else:
            log.warning("an item of the type %s was passed over", kind[:40])
    return [message for message in messages if not _is_empty_turn(message)]


def _turn(messages: list[Message]) -> Message:
    """The assistant's turn that the next item belongs to."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": ""})
    return messages[-1]


def _is_empty_turn(message: Message) -> bool:
    """Whether nothing is left of a turn, such as of reasoning whose text was not shown."""
    return message["role"] == "assistant" and not any(
        message.get(key) for key in ("content", "reasoning_content", "tool_calls")
    )


def _take_message(item: Fields, messages: list[Message]) -> None:
    role = item.one_of("role", ("user", "system", "developer", "assistant"))
    if role is None:
        raise BadRequest(f"{item.path('role')} is missing", item.path("role"))
    text = _text(item, "content")
    if role != "assistant":
        messages.append({"role": role, "content": text})
    elif messages and messages[-1]["role"] == "assistant" and not messages[-1]["content"]:
        messages[-1]["content"] = text
    else:
        messages.append({"role": role, "content": text})


def _text(item: Fields, name: str) -> str:
    value = item.values.get(name)
    if isinstance(value, str):
        return value
    texts = []
    for i, each in enumerate(item.objects(name)):
        part = Fields(each, f"{item.path(name)}.{i}")
        kind = part.text("type", "input_text")
        if kind == "refusal":
            texts.append(part.required_text("refusal"))
        elif kind in TEXT_KINDS:
            texts.append(part.required_text("text"))
        else:
            raise BadRequest(
                f"a part of the type {kind} cannot be read; GLM models read text only", part.path("type")
            )
    return "".join(texts)


def _output(item: Fields) -> str:
    value = item.values.get("output")
    return "" if value is None else _text(item, "output")


def _reasoning(item: Fields) -> str:
    return _text(item, "content") or _text(item, "summary")


def flat_tools(fields: Fields) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The functions among the tools, in the form of chat completions, and the namespaces of those in one.

    Tools of services that are not here are passed over.
    """
    tools: list[dict[str, Any]] = []
    namespaces: dict[str, str] = {}
    for i, each in enumerate(fields.objects("tools")):
        tool = Fields(each, f"tools.{i}")
        kind = tool.text("type", "function")
        if kind == "function":
            tools.append(_function(tool))
        elif kind == "namespace":
            for j, inner in enumerate(tool.objects("tools")):
                function = Fields(inner, f"tools.{i}.tools.{j}")
                if function.text("type", "function") == "function":
                    tools.append(_function(function))
                    namespaces[tools[-1]["function"]["name"]] = tool.text("name", "")
    return tools, namespaces


def _function(tool: Fields) -> dict[str, Any]:
    within = tool.object("function") or tool
    parameters = within.object("parameters")
    function: dict[str, Any] = {
        "name": within.required_text("name"),
        "description": within.text("description", ""),
        "parameters": {"type": "object", "properties": {}} if parameters is None else parameters.values,
    }
    return {"type": "function", "function": function}
