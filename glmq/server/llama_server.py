"""What llama-server has beside OpenAI's API: tokens, templates, its state, and filling in the middle."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from .. import __version__
from ..chat.events import ContentText
from .answer_events import Finished, Piece
from .answer_run import AnswerRun
from .api_error import ApiError, BadRequest
from .error_shapes import openai_error
from .event_stream import EventStream, data_line, unless_gone
from .fields import Fields
from .json_text import JsonResponse
from .openai.chat_request import read_chat
from .openai.usage import timings_json
from .preparation import prompt_text
from .request_body import read_fields
from .requests import CompletionRequest, Limits
from .sampling_fields import sampling_of, stop_of
from .service import Service

INFILL_MARKS = ("<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>")


async def health(request: Request) -> Response:
    """GET /health."""
    service: Service = request.app.state.service
    if service.is_ending:
        raise ApiError(503, "the server is shutting down", code="shutting_down")
    return JsonResponse({"status": "ok"})


async def properties(request: Request) -> Response:
    """GET /props."""
    service: Service = request.app.state.service
    model = service.model
    sampling = service.sampling
    settings = {
        "n_ctx": model.n_ctx,
        "params": {
            "temperature": sampling.temperature,
            "top_k": sampling.top_k,
            "top_p": sampling.top_p,
            "min_p": sampling.min_p,
            "repeat_penalty": sampling.repeat_penalty,
        },
    }
    return JsonResponse(
        {
            "default_generation_settings": settings,
            "total_slots": service.admission.n_slots,
            "model_path": model.path.name,
            "model_alias": service.model_name,
            "chat_template": model.chat_template.source,
            "modalities": {"vision": False, "audio": False},
            "build_info": f"glmq {__version__}",
            "is_sleeping": False,
        }
    )


async def slots(request: Request) -> Response:
    """GET /slots."""
    service: Service = request.app.state.service
    admission = service.admission
    if request.query_params.get("fail_on_no_slot") and admission.n_busy == admission.n_slots:
        raise ApiError(503, "no slot is free", code="no_slot")
    busy = set(admission.busy)
    return JsonResponse(
        [
            {"id": number, "n_ctx": service.model.n_ctx, "is_processing": number in busy}
            for number in range(admission.n_slots)
        ]
    )


async def metrics(request: Request) -> Response:
    """GET /metrics."""
    service: Service = request.app.state.service
    text = service.metrics.text(service.admission.n_busy, service.admission.n_waiting)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


async def tokenize(request: Request) -> Response:
    """POST /tokenize."""
    service: Service = request.app.state.service
    fields = await read_fields(request)
    content = fields.required_text("content")
    special = bool(fields.switch("parse_special", True))
    adds = bool(fields.switch("add_special", False))
    tokenizer = service.model.tokenizer

    def encode() -> list[int]:
        return tokenizer.encode(content, special=special, add_bos=adds and tokenizer.add_bos)

    tokens = await service.in_thread(encode)
    if not fields.switch("with_pieces", False):
        return JsonResponse({"tokens": tokens})
    pieces = [{"id": token, "piece": tokenizer.token_text(token)} for token in tokens]
    return JsonResponse({"tokens": pieces})


async def detokenize(request: Request) -> Response:
    """POST /detokenize."""
    service: Service = request.app.state.service
    fields = await read_fields(request)
    tokens = fields.list("tokens")
    if tokens is None or not all(type(token) is int for token in tokens):
        raise BadRequest("tokens must be a list of token ids", "tokens")
    return JsonResponse({"content": await service.in_thread(service.model.detokenize, tokens)})


async def apply_template(request: Request) -> Response:
    """POST /apply-template."""
    service: Service = request.app.state.service
    call = read_chat(await read_fields(request), service.model_name)
    return JsonResponse({"prompt": await service.in_thread(prompt_text, service.model, call.request)})


async def infill(request: Request) -> Response:
    """POST /infill, where the vocabulary has marks for it."""
    service: Service = request.app.state.service
    fields = await read_fields(request)
    stream = bool(fields.switch("stream", False))
    completion = CompletionRequest(
        [await service.in_thread(_infill_prompt, service, fields)],
        sampling=sampling_of(fields),
        limits=Limits(fields.integer("n_predict", 128, least=1, most=10**9), stop_of(fields)),
    )
    run = await service.begin_completions(completion)
    if stream:
        return EventStream(_stream(service, run), service.settings.ping_seconds, run.cancel, _stream_error)
    (answer,) = await unless_gone(request, service.whole(run, 1))
    return JsonResponse(_end(service, answer.content, answer.end))


def _infill_prompt(service: Service, fields: Fields) -> list[int]:
    tokenizer = service.model.tokenizer
    marks = [tokenizer.token_id(name) for name in INFILL_MARKS]
    if None in marks:
        raise ApiError(501, "the model has no tokens for filling in the middle", code="not_supported")
    prefix, suffix, middle = (mark for mark in marks if mark is not None)
    extra = ""
    for i, each in enumerate(fields.objects("input_extra")):
        part = Fields(each, f"input_extra.{i}")
        extra += f"{part.text('filename', '')}\n{part.text('text', '')}\n"
    before = extra + fields.text("input_prefix", "")
    after, prompt = fields.text("input_suffix", ""), fields.text("prompt", "")
    tokens = [prefix, *tokenizer.encode(before, special=False)] if before else [prefix]
    tokens += [suffix, *(tokenizer.encode(after, special=False) if after else ())]
    return [*tokens, middle, *(tokenizer.encode(prompt, special=False) if prompt else ())]


def _end(service: Service, content: str, end: Finished) -> dict[str, Any]:
    return {
        "content": content,
        "stop": True,
        "model": service.model_name,
        "tokens_predicted": end.usage.completion_tokens,
        "tokens_evaluated": end.usage.prompt_tokens,
        "tokens_cached": end.usage.cached_tokens,
        "stop_type": "eos" if end.reason == "stop" else "limit",
        "timings": timings_json(end),
    }


def _stream_error(error: ApiError) -> bytes:
    return data_line(openai_error(error))


async def _stream(service: Service, run: AnswerRun) -> AsyncGenerator[bytes, None]:
    async with aclosing(service.events(run)) as events:
        async for event in events:
            if isinstance(event, Piece) and isinstance(event.event, ContentText):
                yield data_line({"content": event.event.text, "stop": False})
            elif isinstance(event, Finished):
                yield data_line(_end(service, "", event))


ROUTES = [
    Route("/health", health, methods=["GET"]),
    Route("/v1/health", health, methods=["GET"]),
    Route("/props", properties, methods=["GET"]),
    Route("/slots", slots, methods=["GET"]),
    Route("/metrics", metrics, methods=["GET"]),
    Route("/tokenize", tokenize, methods=["POST"]),
    Route("/detokenize", detokenize, methods=["POST"]),
    Route("/apply-template", apply_template, methods=["POST"]),
    Route("/infill", infill, methods=["POST"]),
]
