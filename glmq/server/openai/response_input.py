"""Items of a response's input as messages: what follows one another of an assistant's turn becomes one."""

from __future__ import annotations

import logging
from base64 import b64decode, b64encode
from typing import Annotated, Any, Literal

from pydantic import Field

from ...chat.messages import Message
from ..api_error import BadRequest
from ..declared import Declared, DeclaredOpen, read

log = logging.getLogger("glmq.server")

TEXT_KINDS = ("input_text", "output_text", "text", "summary_text", "reasoning_text")


class MessageItem(Declared):
    """A message."""

    role: Literal["user", "system", "developer", "assistant"]
    content: str | list[dict[str, Any]] | None = None


class ReasoningItem(Declared):
    """Earlier thinking. encrypted_content: as `encoded` wrote it."""

    content: list[dict[str, Any]] | None = None
    summary: list[dict[str, Any]] | None = None
    encrypted_content: str | None = None


class CallItem(Declared):
    """An earlier call. arguments: JSON as text."""

    call_id: str
    name: str
    arguments: str | None = None


class OutputItem(Declared):
    """What a call gave."""

    call_id: str
    output: str | list[dict[str, Any]] | None = None


def input_messages(value: str | list[dict[str, Any]] | None) -> list[Message]:
    """The messages that `input` holds. Items of services that are not here are passed over."""
    if isinstance(value, str):
        return [{"role": "user", "content": value}]
    messages: list[Message] = []
    for i, each in enumerate(value or ()):
        where, kind = f"input.{i}", each.get("type") or "message"
        if kind == "message":
            _take_message(read(MessageItem, each, where), where, messages)
        elif kind == "reasoning":
            turn = _turn(messages)
            thought = _reasoning(read(ReasoningItem, each, where), where)
            turn["reasoning_content"] = turn.get("reasoning_content", "") + thought
        elif kind == "function_call":
            item = read(CallItem, each, where)
            function = {"name": item.name, "arguments": item.arguments or "{}"}
            call = {"id": item.call_id, "type": "function", "function": function}
            _turn(messages).setdefault("tool_calls", []).append(call)
        elif kind == "function_call_output":
            output = read(OutputItem, each, where)
            text = text_of_parts(output.output, f"{where}.output")
            messages.append({"role": "tool", "tool_call_id": output.call_id, "content": text})
        else:
            log.warning("an item of the type %s was passed over", str(kind)[:40])
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


def _take_message(item: MessageItem, where: str, messages: list[Message]) -> None:
    text = text_of_parts(item.content, f"{where}.content")
    last = messages[-1] if messages else None
    if item.role == "assistant" and last is not None and last["role"] == "assistant" and not last["content"]:
        last["content"] = text
    else:
        messages.append({"role": item.role, "content": text})


def text_of_parts(value: str | list[dict[str, Any]] | None, where: str) -> str:
    """The text of a content. Raises BadRequest for parts that are none."""
    if value is None or isinstance(value, str):
        return value or ""
    texts = []
    for i, part in enumerate(value):
        kind = part.get("type", "input_text")
        key = "refusal" if kind == "refusal" else "text"
        if kind != "refusal" and kind not in TEXT_KINDS:
            told = f"a part of the type {str(kind)[:40]} cannot be read; GLM models read text only"
            raise BadRequest(told, f"{where}.{i}.type")
        if not isinstance(part.get(key), str):
            raise BadRequest(f"{where}.{i}.{key} must be a string", f"{where}.{i}.{key}")
        texts.append(part[key])
    return "".join(texts)


def _reasoning(item: ReasoningItem, where: str) -> str:
    return (
        text_of_parts(item.content, f"{where}.content")
        or text_of_parts(item.summary, f"{where}.summary")
        or decoded(item.encrypted_content or "")
    )


MARK = "glmq:"
"""What begins thinking that was written by `encoded`."""


def encoded(text: str) -> str:
    """Thinking for a client that gives it back and does not read it. It is no secret here."""
    return MARK + b64encode(text.encode("utf-8", "replace")).decode()


def decoded(text: str) -> str:
    """The thinking that `encoded` wrote; nothing of what another server wrote."""
    if not text.startswith(MARK):
        return ""
    try:
        return b64decode(text.removeprefix(MARK), validate=True).decode()
    except ValueError:
        return ""


class ResponseFunction(Declared):
    """A function that may be called. parameters: a JSON schema of its arguments."""

    name: Annotated[str, Field(min_length=1)]
    description: str | None = None
    parameters: dict[str, Any] | None = None

    def definition(self) -> dict[str, Any]:
        """The function as a tool of chat completions."""
        parameters = {"type": "object", "properties": {}} if self.parameters is None else self.parameters
        function = {"name": self.name, "description": self.description or "", "parameters": parameters}
        return {"type": "function", "function": function}


class ResponseTool(DeclaredOpen):
    """A function, a namespace of `tools`, or what belongs to a service that is not here."""

    type: str | None = None
    name: str | None = None
    tools: list[dict[str, Any]] | None = None


def flat_tools(given: list[ResponseTool]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The functions among the tools, in the form of chat completions, and the namespaces of those in one.

    Tools of services that are not here are passed over.
    """
    tools: list[dict[str, Any]] = []
    namespaces: dict[str, str] = {}
    for i, tool in enumerate(given):
        if tool.type in (None, "function"):
            tools.append(_function(tool.given(), f"tools.{i}"))
        elif tool.type == "namespace":
            for j, inner in enumerate(tool.tools or ()):
                if inner.get("type") in (None, "function"):
                    tools.append(_function(inner, f"tools.{i}.tools.{j}"))
                    namespaces[tools[-1]["function"]["name"]] = tool.name or ""
    return tools, namespaces


def _function(tool: dict[str, Any], where: str) -> dict[str, Any]:
    """A function's definition, which may stand in a field of its own as in chat completions."""
    within = tool.get("function")
    given = tool if within is None else within
    return read(ResponseFunction, given, where if within is None else f"{where}.function").definition()
