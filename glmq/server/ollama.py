"""Ollama's API, as far as programs need it that speak nothing else."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from .. import __version__
from ..chat.events import ContentText, ReasoningText, ToolCallEnd
from ..chat.messages import Message
from .answer_events import Finished, Piece, WholeAnswer
from .answer_run import AnswerRun
from .api_error import ApiError, BadRequest
from .declared import MAX_COUNT, Declared, DeclaredOpen, Name, Whole
from .declared_route import LINES, Answered, get, post
from .event_stream import EventStream, unless_gone
from .json_text import JsonResponse, json_bytes
from .openai.chat_request import Tools, effort_of
from .request_body import NoFields, read_body
from .requests import ChatRequest, Form, Limits, Thinking
from .sampling_fields import SamplingFields, Stop, stop_texts
from .service import Service


class Options(SamplingFields):
    """How tokens are drawn, and how many."""

    num_predict: Annotated[int, Field(ge=-2, le=MAX_COUNT), Whole] | None = None
    stop: Stop = None


class OllamaBody(Declared):
    """What the requests for answers have in common. format: "json", or a JSON schema."""

    model: Name | None = None
    stream: bool | None = None
    think: bool | Literal["low", "medium", "high"] | None = None
    format: Literal["", "json"] | dict[str, Any] | None = None
    options: Options | None = None


class OllamaCalledFunction(Declared):
    """A call's function. arguments: an object."""

    name: str
    arguments: dict[str, Any] | str | None = None


class OllamaToolCall(DeclaredOpen):
    """A call, which has no id."""

    id: str | None = None
    function: OllamaCalledFunction


class OllamaMessage(DeclaredOpen):
    """A message. tool_name: of the tool whose result it is."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[OllamaToolCall] | None = None
    tool_name: str | None = None
    name: str | None = None

    def message(self) -> Message:
        """The message as templates take it."""
        message = {"content": "", **self.given()}
        if thinking := message.pop("thinking", None):
            message["reasoning_content"] = thinking
        if name := message.pop("tool_name", None) or self.name:
            message["name"] = name
        return message


class OllamaChatBody(OllamaBody):
    """A conversation to be answered. Without messages the model is merely to be loaded."""

    messages: list[OllamaMessage] | None = None
    tools: Tools | None = None


class OllamaTextBody(OllamaBody):
    """A text to be answered. Without one the model is merely to be loaded."""

    prompt: str | None = None
    system: str | None = None
    suffix: str | None = None
    images: list[str] | None = None


class OllamaVersion(Answered):
    """The version."""

    version: str


class OllamaModels(Answered):
    """The models: one."""

    models: list[dict[str, Any]]


class OllamaModel(Answered):
    """The model."""

    template: str
    details: dict[str, Any]
    model_info: dict[str, Any]
    capabilities: list[str]


class OllamaAnswer(Answered):
    """An answer, or the last line of one. message: of a chat; response: of a text."""

    model: str
    created_at: str
    done: bool
    message: dict[str, Any] | None = None
    response: str | None = None


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
    """Tell the version."""
    return JsonResponse({"version": "0.13.0", "glmq": __version__})


async def tags(request: Request) -> Response:
    """List the model."""
    return JsonResponse({"models": [_model(request.app.state.service)]})


async def show(request: Request) -> Response:
    """Tell of the model."""
    service: Service = request.app.state.service
    await read_body(request, NoFields)
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
    """Answer a conversation."""
    service: Service = request.app.state.service
    body = await read_body(request, OllamaChatBody)
    messages = [message.message() for message in body.messages or ()]
    tools = [tool.definition() for tool in body.tools or () if tool.type in (None, "function")]
    return await _answer(request, service, _call(service, body, messages, "message", tools))


async def generate(request: Request) -> Response:
    """Answer a text."""
    service: Service = request.app.state.service
    body = await read_body(request, OllamaTextBody)
    if body.images:
        raise BadRequest("images cannot be read; GLM models read text only", "images")
    if body.suffix:
        raise BadRequest("a suffix is taken by /infill and /v1/completions", "suffix")
    messages = [{"role": "system", "content": body.system}] if body.system else []
    if body.prompt:
        messages.append({"role": "user", "content": body.prompt})
    return await _answer(request, service, _call(service, body, messages if body.prompt else [], "response"))


ROUTES = [
    get("/api/version", version, OllamaVersion),
    get("/api/tags", tags, OllamaModels),
    get("/api/ps", tags, OllamaModels),
    post("/api/show", show, NoFields, OllamaModel),
    post("/api/chat", chat, OllamaChatBody, OllamaAnswer, LINES),
    post("/api/generate", generate, OllamaTextBody, OllamaAnswer, LINES),
]


def _model(service: Service) -> dict[str, Any]:
    model = service.model
    return {
        "name": service.model_name,
        "model": service.model_name,
        "modified_at": _now(),
        "size": model.file.n_bytes,
        "digest": "",
        "details": {"format": "gguf", "family": model.architecture, "families": [model.architecture]},
    }


def _now() -> str:
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def _call(
    service: Service,
    body: OllamaBody,
    messages: list[Message],
    key: str,
    tools: Sequence[dict[str, Any]] = (),
) -> OllamaCall:
    options = body.options or Options()
    n_predict = options.num_predict
    thinking = Thinking(*effort_of(body.think)) if isinstance(body.think, str) else Thinking(body.think)
    request = ChatRequest(
        messages=messages,
        tools=tools,
        form=_form(body.format),
        thinking=thinking,
        sampling=options.sampling(),
        limits=Limits(n_predict if n_predict and n_predict > 0 else None, stop_texts(options.stop)),
    )
    return OllamaCall(request, body.model or service.model_name, body.stream is not False, key)


def _form(given: str | dict[str, Any] | None) -> Form | None:
    if not given:
        return None
    return Form("json_schema", {"type": "object"} if isinstance(given, str) else given)


async def _answer(request: Request, service: Service, call: OllamaCall) -> Response:
    if not call.request.messages:
        return JsonResponse({**_part(call, ""), "done": True, "done_reason": "load"})
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
    calls = [{"function": {"name": each.name, "arguments": each.input}} for each in answer.calls]
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
