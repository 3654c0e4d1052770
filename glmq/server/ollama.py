"""Ollama's API, as far as programs need it that speak nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .. import __version__
from ..chat.events import ContentText, ReasoningText, ToolCallEnd
from .answer_events import Finished, Piece, WholeAnswer
from .answer_run import AnswerRun
from .api_error import ApiError
from .event_stream import EventStream, unless_gone
from .fields import Fields
from .json_text import JsonResponse, json_bytes
from .openai.chat_request import MAX_COUNT, function_tools
from .request_body import read_fields
from .requests import ChatRequest, Form, Limits, Thinking
from .sampling_fields import sampling_of, stop_of
from .service import Service
from .settings import MAX_NAME

EMPTY = Fields({})


@dataclass(frozen=True)
class OllamaCall:
    """A request and how its answer is to be sent. key: "message" of a chat, "response" of a text."""

    request: ChatRequest
    model: str
    stream: bool
    key: str


async def root(request: Request) -> Response:
    """GET / of programs that are no browsers (`page` asks)."""
    return PlainTextResponse("Ollama is running")


async def version(request: Request) -> Response:
    """GET /api/version."""
    return JsonResponse({"version": "0.13.0", "glmq": __version__})


async def tags(request: Request) -> Response:
    """GET /api/tags and /api/ps."""
    return JsonResponse({"models": [_model(request.app.state.service)]})


async def show(request: Request) -> Response:
    """POST /api/show."""
    service: Service = request.app.state.service
    await read_fields(request)
    model = service.model
    return JsonResponse(
        {
            "modelfile": "",
            "parameters": "",
            "template": model.chat_template.source,
            "details": _model(service)["details"],
            "model_info": {
                "general.architecture": model.architecture,
                f"{model.architecture}.context_length": model.n_ctx,
            },
            "capabilities": ["completion", "tools", "thinking"],
        }
    )


async def chat(request: Request) -> Response:
    """POST /api/chat."""
    service: Service = request.app.state.service
    fields = await read_fields(request)
    messages = [_message(each, f"messages.{i}") for i, each in enumerate(fields.objects("messages"))]
    return await _answer(request, service, _call(service, fields, messages, "message"))


async def generate(request: Request) -> Response:
    """POST /api/generate: an answer to one message."""
    service: Service = request.app.state.service
    fields = await read_fields(request)
    system = fields.text("system")
    messages = [] if not system else [{"role": "system", "content": system}]
    messages.append({"role": "user", "content": fields.text("prompt", "")})
    return await _answer(request, service, _call(service, fields, messages, "response"))


ROUTES = [
    Route("/api/version", version, methods=["GET"]),
    Route("/api/tags", tags, methods=["GET"]),
    Route("/api/ps", tags, methods=["GET"]),
    Route("/api/show", show, methods=["POST"]),
    Route("/api/chat", chat, methods=["POST"]),
    Route("/api/generate", generate, methods=["POST"]),
]


def _model(service: Service) -> dict[str, Any]:
    model = service.model
    return {
        "name": service.model_name,
        "model": service.model_name,
        "modified_at": _now(),
        "size": model.path.stat().st_size if model.path.exists() else 0,
        "digest": "",
        "details": {"format": "gguf", "family": model.architecture, "families": [model.architecture]},
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def _message(value: dict[str, Any], where: str) -> dict[str, Any]:
    """A message of Ollama's: calls have no ids, and a result names its tool."""
    fields = Fields(value, where)
    message = {"role": fields.required_text("role"), "content": fields.text("content", "")}
    if fields.has("images"):
        message["images"] = fields.values["images"]
    if thinking := fields.text("thinking"):
        message["reasoning_content"] = thinking
    if calls := fields.objects("tool_calls"):
        message["tool_calls"] = calls
    if name := fields.text("tool_name") or fields.text("name"):
        message["name"] = name
    return message


def _call(service: Service, fields: Fields, messages: list[dict[str, Any]], key: str) -> OllamaCall:
    options = fields.object("options") or EMPTY
    n_predict = options.integer("num_predict", least=-2, most=MAX_COUNT)
    think = fields.values.get("think")
    if isinstance(think, str):
        think = True
    form = fields.values.get("format")
    request = ChatRequest(
        messages=messages,
        tools=function_tools(fields),
        form=_form(fields) if form else None,
        thinking=Thinking(fields.switch("think") if think is not True else True),
        sampling=sampling_of(options),
        limits=Limits(n_predict if n_predict and n_predict > 0 else None, stop_of(options)),
    )
    name = fields.text("model", max_length=MAX_NAME) or service.model_name
    return OllamaCall(request, name, bool(fields.switch("stream", True)), key)


def _form(fields: Fields) -> Form:
    if isinstance(fields.values["format"], str):
        fields.one_of("format", ("json",))
        return Form("json_schema", {"type": "object"})
    schema = fields.object("format")
    assert schema is not None
    return Form("json_schema", schema.values)


async def _answer(request: Request, service: Service, call: OllamaCall) -> Response:
    run = await service.begin_chat(call.request)
    if call.stream:
        chunks = _stream(service, call, run)
        return EventStream(
            chunks, service.settings.ping_seconds, run.cancel, _stream_error, b"", "application/x-ndjson"
        )
    (answer,) = await unless_gone(request, service.whole(run, 1))
    return JsonResponse(_end(call, answer.end, answer))


def _part(
    call: OllamaCall, content: str, thinking: str = "", calls: list[Any] | None = None
) -> dict[str, Any]:
    head: dict[str, Any] = {"model": call.model, "created_at": _now(), "done": False}
    if call.key == "response":
        return {**head, "response": content} | ({"thinking": thinking} if thinking else {})
    message: dict[str, Any] = {"role": "assistant", "content": content}
    if thinking:
        message["thinking"] = thinking
    if calls:
        message["tool_calls"] = calls
    return {**head, "message": message}


def _end(call: OllamaCall, end: Finished, answer: WholeAnswer | None = None) -> dict[str, Any]:
    answer = answer or WholeAnswer()
    calls = [
        {"function": {"name": each.name, "arguments": json.loads(each.arguments or "{}")}}
        for each in answer.calls
    ]
    prompt_ns = int(end.timings.prompt_seconds * 1e9)
    decode_ns = int(end.timings.decode_seconds * 1e9)
    return {
        **_part(call, answer.content, answer.reasoning, calls),
        "done": True,
        "done_reason": "length" if end.reason in ("length", "context") else "stop",
        "total_duration": prompt_ns + decode_ns,
        "load_duration": 0,
        "prompt_eval_count": end.usage.prompt_tokens,
        "prompt_eval_duration": prompt_ns,
        "eval_count": end.usage.completion_tokens,
        "eval_duration": decode_ns,
    }


def _stream_error(error: ApiError) -> bytes:
    return json_bytes({"error": error.message}) + b"\n"


async def _stream(service: Service, call: OllamaCall, run: AnswerRun) -> AsyncGenerator[bytes, None]:
    async with aclosing(service.events(run)) as events:
        async for event in events:
            if isinstance(event, Finished):
                yield json_bytes(_end(call, event)) + b"\n"
            elif isinstance(event, Piece) and (part := _piece(call, event)) is not None:
                yield json_bytes(part) + b"\n"


def _piece(call: OllamaCall, piece: Piece) -> dict[str, Any] | None:
    part = piece.event
    if isinstance(part, ContentText):
        return _part(call, part.text)
    if isinstance(part, ReasoningText):
        return _part(call, "", part.text)
    if isinstance(part, ToolCallEnd):
        return _part(call, "", calls=[{"function": {"name": part.name, "arguments": part.arguments}}])
    return None
