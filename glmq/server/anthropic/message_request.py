"""A request of Anthropic's messages API, as it is declared, and read into the form that all share."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from ...chat.messages import Message
from ..api_error import BadRequest
from ..declared import MAX_COUNT, Declared, Limit, Name, Positive, Seed, Whole, read
from ..openai.chat_request import Effort, effort_of
from ..requests import ChatRequest, Limits, Thinking
from ..sampling_fields import Format, SamplingFields, StopTexts, stop_texts
from ..settings import MAX_TOOLS

DEFAULT_MAX_TOKENS = 4096
_BILLING = re.compile(r"^x-anthropic-billing-header:.*\n*", re.MULTILINE)
"""Claude Code's first line of the system prompt, where a value changes with every request."""

NO_PARAMETERS = {"type": "object", "properties": {}}
Blocks = list[dict[str, Any]]


class MessageField(Declared):
    """A message. content: a text, or blocks of text, thinking, calls and their results."""

    role: Literal["user", "assistant", "system"]
    content: str | Blocks | None = None


class ToolField(Declared):
    """A tool. Those of Anthropic's servers, which have types of their own, are passed over."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoiceField(Declared):
    """Whether tools are called, and which."""

    type: Literal["auto", "any", "tool", "none"] = "auto"
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class ThinkingField(Declared):
    """Whether and how long to think."""

    type: Literal["enabled", "disabled", "adaptive"] = "enabled"
    budget_tokens: Annotated[int, Field(ge=0, le=MAX_COUNT), Whole] | None = None
    display: str | None = None


class OutputField(Declared):
    """How much to think, and what the text is held to."""

    effort: Effort | None = None
    format: Format | None = None


class MessageBody(Declared):
    """A conversation to be answered."""

    messages: Annotated[list[MessageField], Field(min_length=1)]
    model: Name | None = None
    system: str | Blocks | None = None
    max_tokens: Positive | None = None
    stream: bool | None = None
    stop_sequences: StopTexts | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: Limit | None = None
    min_p: float | None = None
    seed: Seed | None = None
    tools: Annotated[list[ToolField], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceField | None = None
    thinking: ThinkingField | None = None
    output_config: OutputField | None = None


class TextBlock(Declared):
    """A text."""

    text: str


class ThinkingBlock(Declared):
    """Earlier thinking; its signature is not looked at."""

    thinking: str | None = None


class ToolUseBlock(Declared):
    """An earlier call."""

    id: str
    name: str
    input: dict[str, Any] | None = None


class ToolResultBlock(Declared):
    """What a call gave."""

    tool_use_id: str
    content: str | Blocks | None = None
    is_error: bool | None = None


@dataclass(frozen=True)
class MessageCall:
    """A request and how its answer is to be sent."""

    request: ChatRequest
    model: str
    stream: bool
    shows_thinking: bool = True


def read_messages(body: MessageBody, model_name: str) -> MessageCall:
    """A request of /v1/messages. Raises BadRequest."""
    messages = _system(body.system, "system")
    for i, message in enumerate(body.messages):
        messages += _messages(message, f"messages.{i}")
    choice = body.tool_choice or ToolChoiceField()
    sampling = SamplingFields(
        temperature=body.temperature, top_p=body.top_p, top_k=body.top_k, min_p=body.min_p, seed=body.seed
    )
    output = body.output_config or OutputField()
    request = ChatRequest(
        messages=messages,
        tools=_tools(body.tools or []),
        tool_choice=_tool_choice(choice),
        max_tool_calls=1 if choice.disable_parallel_tool_use else None,
        form=None if output.format is None else output.format.form("output_config.format"),
        thinking=_thinking(body.thinking, output.effort),
        continue_final_message=_is_prefill(messages),
        sampling=sampling.sampling(),
        limits=Limits(body.max_tokens or DEFAULT_MAX_TOKENS, stop_texts(body.stop_sequences)),
    )
    shows_thinking = body.thinking is None or body.thinking.display != "omitted"
    return MessageCall(request, body.model or model_name, bool(body.stream), shows_thinking)


def _system(value: str | Blocks | None, where: str) -> list[Message]:
    if not value:
        return []
    texts = [value] if isinstance(value, str) else _texts(value, where)
    text = _without_billing("\n\n".join(texts))
    return [{"role": "system", "content": text}] if text else []


def _without_billing(text: str) -> str:
    """The text without the line that changes, so that what was read of its prompt is used again."""
    return _BILLING.sub("", text)


def _messages(message: MessageField, where: str) -> list[Message]:
    """The messages, of the form that templates take, that one of Anthropic's stands for."""
    if message.content is None:
        raise BadRequest(f"{where}.content is missing", f"{where}.content")
    if message.role == "system":
        return _system(message.content, f"{where}.content")
    if isinstance(message.content, str):
        return [{"role": message.role, "content": message.content}]
    if message.role == "assistant":
        return [_assistant(message.content, f"{where}.content")]
    return _user(message.content, f"{where}.content")


def _kind(block: dict[str, Any], where: str) -> str:
    kind = block.get("type")
    if not isinstance(kind, str):
        raise BadRequest(f"{where}.type must be a string", f"{where}.type")
    return kind


def _unreadable(kind: str, where: str) -> BadRequest:
    told = f"a block of the type {kind[:40]} cannot be read; GLM models read text only"
    return BadRequest(told, f"{where}.type")


def _assistant(blocks: Blocks, where: str) -> Message:
    """An assistant's message. Blocks that are told apart by no more than their type are passed over."""
    thinking, text, calls = "", "", []
    for i, block in enumerate(blocks):
        place = f"{where}.{i}"
        kind = _kind(block, place)
        if kind == "thinking":
            thinking += read(ThinkingBlock, block, place).thinking or ""
        elif kind == "text":
            text += read(TextBlock, block, place).text
        elif kind == "tool_use":
            call = read(ToolUseBlock, block, place)
            function = {"name": call.name, "arguments": call.input or {}}
            calls.append({"id": call.id, "type": "function", "function": function})
        elif kind == "image":
            raise _unreadable(kind, place)
    message: Message = {"role": "assistant", "content": text}
    if thinking:
        message["reasoning_content"] = thinking
    if calls:
        message["tool_calls"] = calls
    return message


def _user(blocks: Blocks, where: str) -> list[Message]:
    """Results of tools first, as messages of their own, then the text."""
    results: list[Message] = []
    texts: list[str] = []
    for i, block in enumerate(blocks):
        place = f"{where}.{i}"
        kind = _kind(block, place)
        if kind == "text":
            texts.append(read(TextBlock, block, place).text)
        elif kind == "tool_result":
            result = read(ToolResultBlock, block, place)
            content = _result(result, place)
            results.append({"role": "tool", "tool_call_id": result.tool_use_id, "content": content})
        elif kind in ("image", "document"):
            raise _unreadable(kind, place)
    if texts or not results:
        results.append({"role": "user", "content": "\n".join(texts)})
    return results


def _result(result: ToolResultBlock, where: str) -> str:
    content = result.content or ""
    text = content if isinstance(content, str) else "\n".join(_texts(content, f"{where}.content"))
    return f"Error: {text}" if result.is_error else text


def _texts(blocks: Blocks, where: str) -> list[str]:
    texts = []
    for i, block in enumerate(blocks):
        kind = block.get("type", "text")
        if kind == "text":
            texts.append(read(TextBlock, block, f"{where}.{i}").text)
        elif kind == "tool_reference":
            texts.append(json.dumps(block))
        else:
            raise _unreadable(str(kind), f"{where}.{i}")
    return texts


def _is_prefill(messages: list[Message]) -> bool:
    """Whether the last message is the beginning of the answer."""
    last = messages[-1]
    return last["role"] == "assistant" and bool(last["content"]) and "tool_calls" not in last


def _tools(given: list[ToolField]) -> list[dict[str, Any]]:
    """The tools that the client runs, in the form that templates take."""
    tools = []
    for i, tool in enumerate(given):
        if tool.type not in (None, "custom"):
            continue
        if not tool.name:
            raise BadRequest(f"tools.{i}.name is missing", f"tools.{i}.name")
        function = {
            "name": tool.name,
            "description": tool.description or "",
            "parameters": NO_PARAMETERS if tool.input_schema is None else tool.input_schema,
        }
        tools.append({"type": "function", "function": function})
    return tools


def _tool_choice(choice: ToolChoiceField) -> str | dict[str, Any]:
    if choice.type == "tool":
        if not choice.name:
            raise BadRequest("tool_choice.name is missing", "tool_choice.name")
        return {"type": "function", "function": {"name": choice.name}}
    return {"auto": "auto", "any": "required", "none": "none"}[choice.type]


def _thinking(thinking: ThinkingField | None, effort: Effort | None) -> Thinking:
    """Whether and how long to think. An effort says it for thinking that is adaptive."""
    enabled, budget = (None, None) if effort is None else effort_of(effort)
    if thinking is not None and thinking.type != "adaptive":
        enabled = thinking.type == "enabled"
        budget = budget if thinking.budget_tokens is None else thinking.budget_tokens
    return Thinking(enabled, None if enabled is False else budget)
