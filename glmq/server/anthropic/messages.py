"""/v1/messages and /v1/messages/count_tokens."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from ...answer_costs import Usage
from ...chat.events import ContentText, ReasoningText, ToolCallBegin, ToolCallEnd, ToolCallText
from ..answer_events import AnswerEvent, Finished, Piece, WholeAnswer
from ..answer_run import AnswerRun
from ..api_error import ApiError
from ..declared_route import EVENTS, post
from ..error_shapes import anthropic_error
from ..event_stream import EventStream, named_event, unless_gone
from ..json_text import JsonResponse
from ..preparation import count_prompt
from ..request_body import read_body
from ..service import Service
from .answers import MessageObject, TokenCount
from .message_request import MessageBody, MessageCall, read_messages

STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "context": "model_context_window_exceeded",
    "tool_calls": "tool_use",
    "cancelled": "end_turn",
}
PING = named_event("ping", {"type": "ping"})


async def messages(request: Request) -> Response:
    """Answer a conversation."""
    service: Service = request.app.state.service
    call = read_messages(await read_body(request, MessageBody), service.model_name)
    run = await service.begin_chat(call.request)
    if call.stream:
        chunks = _stream(service, call, run)
        return EventStream(chunks, service.settings.ping_seconds, run.cancel, _stream_error, PING)
    (answer,) = await unless_gone(request, service.whole(run, 1))
    return JsonResponse(_message(call, answer))


async def count_tokens(request: Request) -> Response:
    """Count the tokens of a conversation's prompt; this does not wait for answers."""
    service: Service = request.app.state.service
    call = read_messages(await read_body(request, MessageBody), service.model_name)
    n = await service.in_thread(count_prompt, service.model, call.request)
    return JsonResponse({"input_tokens": n})


ROUTES = [
    post("/v1/messages", messages, MessageBody, MessageObject, EVENTS),
    post("/v1/messages/count_tokens", count_tokens, MessageBody, TokenCount),
]


def _message(call: MessageCall, answer: WholeAnswer) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if answer.reasoning and call.shows_thinking:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": ""})
    if answer.content:
        content.append({"type": "text", "text": answer.content})
    for each in answer.calls:
        content.append({"type": "tool_use", "id": _tool_id(each.id), "name": each.name, "input": each.input})
    return {
        **_head(call),
        "content": content,
        **_stop(answer.end),
        "usage": _usage(answer.end.usage),
    }


def _head(call: MessageCall) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid4().hex[:24]}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
    }


def _stop(end: Finished) -> dict[str, Any]:
    reason = "stop_sequence" if end.stop_text is not None else STOP_REASONS[end.reason]
    return {"stop_reason": reason, "stop_sequence": end.stop_text}


def _usage(usage: Usage) -> dict[str, Any]:
    """Tokens; those of the prompt that were cached count apart."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


def _tool_id(call_id: str) -> str:
    return f"toolu_{call_id.removeprefix('call_')}"


@dataclass
class _BlockWriter:
    """Writes events as blocks, of which one is open at a time."""

    call: MessageCall
    index: int = -1
    kind: str | None = None
    end: Finished | None = None
    head: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.head = _head(self.call)

    def start(self, n_prompt: int) -> bytes:
        """The message's start, before its prompt is read."""
        message = {**self.head, "usage": _usage(Usage(n_prompt))}
        return named_event("message_start", {"type": "message_start", "message": message}) + PING

    def write(self, event: AnswerEvent) -> bytes:
        """What is sent for an event."""
        if isinstance(event, Finished):
            self.end = event
            return self._close()
        if not isinstance(event, Piece):
            return PING
        part = event.event
        if isinstance(part, ReasoningText):
            if not self.call.shows_thinking:
                return b""
            opened = self._open("thinking", {"type": "thinking", "thinking": "", "signature": ""})
            return opened + self._delta({"type": "thinking_delta", "thinking": part.text})
        if isinstance(part, ContentText):
            opened = self._open("text", {"type": "text", "text": ""})
            return opened + self._delta({"type": "text_delta", "text": part.text})
        if isinstance(part, ToolCallBegin):
            block = {"type": "tool_use", "id": _tool_id(event.call_id), "name": part.name, "input": {}}
            return self._close() + self._open("tool_use", block)
        if isinstance(part, ToolCallText):
            return self._delta({"type": "input_json_delta", "partial_json": part.text})
        assert isinstance(part, ToolCallEnd)
        return self._close()

    def last(self) -> bytes:
        """What ends the stream."""
        assert self.end is not None
        delta = {"type": "message_delta", "delta": _stop(self.end), "usage": _usage(self.end.usage)}
        return named_event("message_delta", delta) + named_event("message_stop", {"type": "message_stop"})

    def _open(self, kind: str, block: dict[str, Any]) -> bytes:
        if self.kind == kind:
            return b""
        closed = self._close()
        self.index, self.kind = self.index + 1, kind
        start = {"type": "content_block_start", "index": self.index, "content_block": block}
        return closed + named_event("content_block_start", start)

    def _delta(self, delta: dict[str, Any]) -> bytes:
        value = {"type": "content_block_delta", "index": self.index, "delta": delta}
        return named_event("content_block_delta", value)

    def _close(self) -> bytes:
        if self.kind is None:
            return b""
        signed = self._delta({"type": "signature_delta", "signature": ""}) if self.kind == "thinking" else b""
        self.kind = None
        return signed + named_event("content_block_stop", {"type": "content_block_stop", "index": self.index})


def _stream_error(error: ApiError) -> bytes:
    return named_event("error", anthropic_error(error))


async def _stream(service: Service, call: MessageCall, run: AnswerRun) -> AsyncGenerator[bytes, None]:
    writer = _BlockWriter(call)
    async with aclosing(service.events(run)) as events:
        yield writer.start(run.n_prompt)
        async for event in events:
            yield writer.write(event)
    yield writer.last()
