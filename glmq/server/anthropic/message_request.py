"""A request of Anthropic's messages API, read into the form that all protocols share."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from ...chat.messages import Message
from ..api_error import BadRequest
from ..fields import Fields
from ..openai.chat_request import MAX_COUNT, effort_of
from ..requests import ChatRequest, Form, Limits, Thinking
from ..sampling_fields import form_of_format, sampling_of, stop_of
from ..settings import MAX_NAME

DEFAULT_MAX_TOKENS = 4096
_BILLING = re.compile(r"(x-anthropic-billing-header:[^\n]*?\bcch=)[^;\s]*")
"""Claude Code's first line of the system prompt, where a value changes with every request."""


@dataclass(frozen=True)
class MessageCall:
    """A request and how its answer is to be sent."""

    request: ChatRequest
    model: str
    stream: bool
    shows_thinking: bool = True


def read_messages(fields: Fields, model_name: str) -> MessageCall:
    """A body of /v1/messages. Unknown fields are passed over. Raises ApiError."""
    messages = _system(fields)
    given = fields.objects("messages")
    if not given:
        raise BadRequest("messages is missing or empty", "messages")
    for i, message in enumerate(given):
        messages += _messages(Fields(message, f"messages.{i}"))
    choice = fields.object("tool_choice")
    thinking, shows_thinking = _thinking(fields)
    sampling = {
        name: value
        for name, value in sampling_of(fields).items()
        if name in ("temperature", "top_p", "top_k", "min_p", "seed")
    }
    request = ChatRequest(
        messages=messages,
        tools=_tools(fields),
        tool_choice=_tool_choice(choice),
        max_tool_calls=1 if choice and choice.switch("disable_parallel_tool_use", False) else None,
        form=_form(fields),
        thinking=thinking,
        continue_final_message=_is_prefill(messages),
        sampling=sampling,
        limits=Limits(
            fields.integer("max_tokens", DEFAULT_MAX_TOKENS, least=1, most=MAX_COUNT),
            stop_of(fields, "stop_sequences"),
        ),
    )
    name = fields.text("model", max_length=MAX_NAME) or model_name
    return MessageCall(request, name, bool(fields.switch("stream", False)), shows_thinking)


def _system(fields: Fields) -> list[Message]:
    value = fields.values.get("system")
    if value is None or value == "" or value == []:
        return []
    texts = [value] if isinstance(value, str) else _texts(fields.objects("system"), "system")
    return [{"role": "system", "content": _without_billing("\n\n".join(texts))}]


def _without_billing(text: str) -> str:
    """The text with the changing value of the billing line blanked, so that its prompt is found again."""
    return _BILLING.sub(r"\g<1>00000", text)


def _messages(fields: Fields) -> list[Message]:
    """The messages, of the form that templates take, that one of Anthropic's stands for."""
    role = fields.one_of("role", ("user", "assistant", "system"))
    if role is None:
        raise BadRequest(f"{fields.path('role')} is missing", fields.path("role"))
    content = fields.values.get("content")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    blocks = [
        Fields(each, f"{fields.path('content')}.{i}") for i, each in enumerate(fields.objects("content"))
    ]
    if role == "assistant":
        return [_assistant(blocks)]
    return _user(blocks, role)


def _assistant(blocks: list[Fields]) -> Message:
    thinking, text, calls = "", "", []
    for block in blocks:
        kind = block.required_text("type")
        if kind == "thinking":
            thinking += block.text("thinking", "")
        elif kind == "text":
            text += block.required_text("text")
        elif kind == "tool_use":
            arguments = block.object("input") or Fields({})
            function = {"name": block.required_text("name"), "arguments": arguments.values}
            calls.append({"id": block.required_text("id"), "type": "function", "function": function})
        elif kind == "image":
            raise BadRequest("images cannot be read; GLM models read text only", block.path("type"))
    message: Message = {"role": "assistant", "content": text}
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = calls
    return message


def _user(blocks: list[Fields], role: str) -> list[Message]:
    """Results of tools first, as messages of their own, then the text."""
    results: list[Message] = []
    texts: list[str] = []
    for block in blocks:
        kind = block.required_text("type")
        if kind == "text":
            texts.append(block.required_text("text"))
        elif kind == "tool_result":
            results.append(
                {
                    "role": "tool",
                    "tool_call_id": block.required_text("tool_use_id"),
                    "content": _result(block),
                }
            )
        elif kind in ("image", "document"):
            raise BadRequest(
                f"a block of the type {kind} cannot be read; GLM models read text only", block.path("type")
            )
    if texts or not results:
        results.append({"role": role, "content": "\n".join(texts)})
    return results


def _result(block: Fields) -> str:
    content = block.values.get("content")
    text = (
        content
        if isinstance(content, str)
        else "\n".join(_texts(block.objects("content"), block.path("content")))
    )
    return f"Error: {text}" if block.switch("is_error", False) else text


def _texts(blocks: list[dict[str, Any]], where: str) -> list[str]:
    texts = []
    for i, each in enumerate(blocks):
        block = Fields(each, f"{where}.{i}")
        kind = block.text("type", "text")
        if kind == "text":
            texts.append(block.required_text("text"))
        elif kind == "tool_reference":
            texts.append(json.dumps(each))
        else:
            raise BadRequest(f"a block of the type {kind} cannot be read; GLM models read text only", where)
    return texts


def _is_prefill(messages: list[Message]) -> bool:
    """Whether the last message is the beginning of the answer."""
    last = messages[-1]
    return last["role"] == "assistant" and bool(last["content"]) and "tool_calls" not in last


def _tools(fields: Fields) -> list[dict[str, Any]]:
    """The tools that the client runs; those of Anthropic's servers are passed over."""
    tools = []
    for i, each in enumerate(fields.objects("tools")):
        tool = Fields(each, f"tools.{i}")
        if tool.text("type", "custom") != "custom":
            continue
        schema = tool.object("input_schema")
        function = {
            "name": tool.required_text("name"),
            "description": tool.text("description", ""),
            "parameters": {"type": "object", "properties": {}} if schema is None else schema.values,
        }
        tools.append({"type": "function", "function": function})
    return tools


def _tool_choice(choice: Fields | None) -> str | dict[str, Any]:
    if choice is None:
        return "auto"
    kind = choice.one_of("type", ("auto", "any", "tool", "none"), "auto")
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.required_text("name")}}
    return {"auto": "auto", "any": "required", "none": "none"}[kind]


def _thinking(fields: Fields) -> tuple[Thinking, bool]:
    """Whether and how long to think, and whether the thinking is shown."""
    enabled, budget, shows = None, None, True
    output = fields.object("output_config")
    if output is not None and (effort := output.text("effort")) is not None:
        enabled, budget = effort_of(effort, output.path("effort"))
    if (thinking := fields.object("thinking")) is not None:
        kind = thinking.one_of("type", ("enabled", "disabled", "adaptive"), "enabled")
        if kind != "adaptive":
            enabled = kind == "enabled"
        if enabled:
            budget = thinking.integer("budget_tokens", budget, least=0, most=MAX_COUNT)
        shows = thinking.text("display", "") != "omitted"
    return Thinking(enabled, budget if enabled is not False else None), shows


def _form(fields: Fields) -> Form | None:
    output = fields.object("output_config")
    given = None if output is None else output.object("format")
    return None if given is None else form_of_format(given)
