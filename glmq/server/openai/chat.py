"""/v1/chat/completions: the answer at once, or as it comes."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from ...answer_costs import Timings
from ...chat.answer_tags import END_THINK, THINK
from ...chat.events import ContentText, ReasoningText, ToolCallBegin, ToolCallText
from ..answer_events import AnswerEvent, Finished, Piece, PromptRead, WholeAnswer
from ..answer_run import AnswerRun
from ..api_error import ApiError
from ..declared_route import EVENTS, post
from ..error_shapes import openai_error
from ..event_stream import EventStream, comment, data_line, unless_gone
from ..json_text import JsonResponse
from ..request_body import read_body
from ..service import Service
from .answers import ChatCompletion
from .chat_request import ChatBody, ChatCall, read_chat
from .usage import FINISH_REASONS, chat_logprobs, timings_json, total_usage, usage_json

DONE = b"data: [DONE]\n\n"
REASONING_NAMES: dict[str, tuple[str, ...]] = {
    "reasoning_content": ("reasoning_content",),
    "both": ("reasoning_content", "reasoning"),
    "tags": (),
    "none": (),
}
"""Fields of a message in which its thinking is told."""


async def chat_completions(request: Request) -> Response:
    """Answer a conversation."""
    service: Service = request.app.state.service
    call = read_chat(await read_body(request, ChatBody), service.model_name)
    run = await service.begin_chat(call.request)
    if call.stream:
        return EventStream(
            _stream(service, call, run), service.settings.ping_seconds, run.cancel, stream_error
        )
    answers = await unless_gone(request, service.whole(run, call.request.limits.n))
    return JsonResponse(_completion(service, call, answers))


ROUTES = [
    post(path, chat_completions, ChatBody, ChatCompletion, EVENTS)
    for path in ("/v1/chat/completions", "/chat/completions")
]


def _completion(service: Service, call: ChatCall, answers: list[WholeAnswer]) -> dict[str, Any]:
    """The response to a request that does not stream."""
    return {
        **_head(service, call, "chat.completion"),
        "choices": [_choice(service, call, i, answer) for i, answer in enumerate(answers)],
        "usage": usage_json(total_usage(answer.end for answer in answers)),
        "timings": timings_json(answers[0].end.timings),
    }


def _head(service: Service, call: ChatCall, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": call.model,
        "system_fingerprint": service.fingerprint,
        "service_tier": None,
    }


def _choice(service: Service, call: ChatCall, index: int, answer: WholeAnswer) -> dict[str, Any]:
    content = answer.content
    if answer.reasoning and call.told.thinking == "tags":
        content = f"{THINK}{answer.reasoning}{END_THINK}{content}"
    message: dict[str, Any] = {"role": "assistant", "content": content, "refusal": None}
    if answer.reasoning:
        message |= dict.fromkeys(REASONING_NAMES[call.told.thinking], answer.reasoning)
    if answer.calls:
        message["content"] = content or None
        message["tool_calls"] = [
            {"id": each.id, "type": "function", "function": {"name": each.name, "arguments": each.arguments}}
            for each in answer.calls
        ]
    wants_logprobs = call.request.limits.logprobs is not None
    tokenizer = service.model.tokenizer
    return {
        "index": index,
        "message": message,
        "logprobs": chat_logprobs(answer.logprobs, tokenizer) if wants_logprobs else None,
        "finish_reason": FINISH_REASONS[answer.end.reason],
    }


@dataclass
class _ChunkWriter:
    """Writes the events of one request as chunks. n_prompt: tokens of the prompt.

    in_tags: answers whose thinking is being told in the content.
    """

    service: Service
    call: ChatCall
    n_prompt: int
    began: float = field(default_factory=time.monotonic)
    finished: list[Finished] = field(default_factory=list)
    in_tags: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._head = _head(self.service, self.call, "chat.completion.chunk")

    def first(self) -> bytes:
        """The roles, before anything is generated."""
        delta = {"role": "assistant", "content": ""}
        return b"".join(self._chunk(i, delta) for i in range(self.call.request.limits.n))

    def write(self, event: AnswerEvent) -> bytes:
        """What is sent for an event."""
        if isinstance(event, Piece):
            delta = self._delta(event)
            return b"" if delta is None else self._chunk(event.choice, delta, event)
        if isinstance(event, PromptRead):
            return self._progress(event)
        self.finished.append(event)
        closed = self._end_of_tags(event.choice)
        end = self._chunk(event.choice, {}, finish_reason=FINISH_REASONS[event.reason], timings=event.timings)
        return (self._chunk(event.choice, {"content": closed}) if closed else b"") + end

    def last(self) -> bytes:
        """What ends the stream."""
        if not self.call.told.usage:
            return DONE
        usage = usage_json(total_usage(self.finished))
        return data_line({**self._head, "choices": [], "usage": usage}) + DONE

    def _progress(self, event: PromptRead) -> bytes:
        if not self.call.told.progress:
            return comment(f"prompt: {event.n_done} of {event.n_wanted} tokens")
        n_cached = self.n_prompt - event.n_wanted
        progress = {
            "total": self.n_prompt,
            "cache": n_cached,
            "processed": n_cached + event.n_done,
            "time_ms": round((time.monotonic() - self.began) * 1000),
        }
        choice = {"index": event.choice, "delta": {}, "logprobs": None, "finish_reason": None}
        return data_line({**self._head, "choices": [choice], "prompt_progress": progress})

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        piece: Piece | None = None,
        *,
        finish_reason: str | None = None,
        timings: Timings | None = None,
    ) -> bytes:
        logprobs = None
        if piece is not None and piece.logprobs:
            logprobs = chat_logprobs(piece.logprobs, self.service.model.tokenizer)
        if piece is not None and self.call.told.token_timings:
            timings = piece.timings
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk: dict[str, Any] = {**self._head, "choices": [choice]}
        if timings is not None:
            chunk["timings"] = timings_json(timings)
        return data_line(chunk)

    def _delta(self, piece: Piece) -> dict[str, Any] | None:
        event, told = piece.event, self.call.told.thinking
        if isinstance(event, ReasoningText):
            if told == "tags":
                begins = piece.choice not in self.in_tags
                self.in_tags.add(piece.choice)
                return {"content": (THINK if begins else "") + event.text}
            return dict.fromkeys(REASONING_NAMES[told], event.text) or None
        closed = self._end_of_tags(piece.choice)
        if isinstance(event, ContentText):
            return {"content": closed + event.text}
        delta: dict[str, Any] = {"content": closed} if closed else {}
        if isinstance(event, ToolCallBegin):
            function = {"name": event.name, "arguments": ""}
            call = {"index": event.index, "id": piece.call_id, "type": "function", "function": function}
            return {**delta, "tool_calls": [call]}
        if isinstance(event, ToolCallText):
            return {"tool_calls": [{"index": event.index, "function": {"arguments": event.text}}]}
        return None

    def _end_of_tags(self, choice: int) -> str:
        """What closes thinking that was told in the content."""
        if choice not in self.in_tags:
            return ""
        self.in_tags.remove(choice)
        return END_THINK


def stream_error(error: ApiError) -> bytes:
    """What ends a stream that an error has ended."""
    return data_line(openai_error(error)) + DONE


async def _stream(service: Service, call: ChatCall, run: AnswerRun) -> AsyncGenerator[bytes, None]:
    writer = _ChunkWriter(service, call, run.n_prompt)
    async with aclosing(service.events(run)) as events:
        yield writer.first()
        async for event in events:
            yield writer.write(event)
    yield writer.last()
