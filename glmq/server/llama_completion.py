"""llama-server's own continuations: of a text, and of what is missing between two."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Annotated, Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from ..chat.events import ContentText
from .answer_events import Finished, Piece
from .answer_run import AnswerRun
from .api_error import ApiError
from .declared import Declared, Limit, TokenId
from .declared_route import EVENTS, Answered, post
from .error_shapes import openai_error
from .event_stream import EventStream, data_line, unless_gone
from .infill import InfillText
from .json_text import JsonResponse
from .openai.answers import Speeds
from .openai.usage import timings_json
from .request_body import read_body
from .requests import CompletionRequest, Limits, Prompt
from .sampling_fields import FormFields, SamplingFields, Stop, stop_texts
from .service import Service

DEFAULT_INFILL_TOKENS = 128


class NativeBody(SamplingFields, FormFields):
    """What llama-server's own continuations have in common."""

    n_predict: Limit | None = None
    stream: bool | None = None
    stop: Stop = None


class NativeCompletionBody(NativeBody):
    """A text, or token ids, to be continued."""

    prompt: str | Annotated[list[TokenId], Field(min_length=1)]


class ExtraFile(Declared):
    """Another file that tells something about the text."""

    filename: str | None = None
    text: str | None = None


class InfillBody(NativeBody):
    """A middle that is to be filled in. prompt: what it begins with."""

    input_prefix: str | None = None
    input_suffix: str | None = None
    input_extra: list[ExtraFile] | None = None
    prompt: str | None = None


class NativeCompletion(Answered):
    """A continuation."""

    content: str
    stop: Literal[True]
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    tokens_cached: int
    truncated: Literal[False]
    stop_type: Literal["eos", "limit"]
    timings: Speeds


async def completion(request: Request) -> Response:
    """Continue a text."""
    body = await read_body(request, NativeCompletionBody)
    return await _continued(request, body, body.prompt, body.n_predict)


async def infill(request: Request) -> Response:
    """Fill in a middle, where the vocabulary has marks for it."""
    body = await read_body(request, InfillBody)
    extra = "".join(f"{each.filename or ''}\n{each.text or ''}\n" for each in body.input_extra or ())
    text = InfillText(extra + (body.input_prefix or ""), body.input_suffix or "", body.prompt or "")
    n_predict = DEFAULT_INFILL_TOKENS if body.n_predict is None else body.n_predict
    return await _continued(request, body, text, n_predict)


ROUTES = [
    post("/completion", completion, NativeCompletionBody, NativeCompletion, EVENTS),
    post("/infill", infill, InfillBody, NativeCompletion, EVENTS),
]


async def _continued(request: Request, body: NativeBody, prompt: Prompt, n_predict: int | None) -> Response:
    service: Service = request.app.state.service
    limits = Limits(
        None if n_predict == -1 else n_predict, stop_texts(body.stop), ignore_eos=bool(body.ignore_eos)
    )
    asked = CompletionRequest([prompt], form=body.form(), sampling=body.sampling(), limits=limits)
    run = await service.begin_completions(asked)
    if body.stream:
        return EventStream(_stream(service, run), service.settings.ping_seconds, run.cancel, _stream_error)
    (answer,) = await unless_gone(request, service.whole(run, 1))
    return JsonResponse(_end(service, answer.content, answer.end))


def _end(service: Service, content: str, end: Finished) -> dict[str, Any]:
    return {
        "content": content,
        "stop": True,
        "model": service.model_name,
        "tokens_predicted": end.usage.completion_tokens,
        "tokens_evaluated": end.usage.prompt_tokens,
        "tokens_cached": end.usage.cached_tokens,
        "truncated": False,
        "stop_type": "eos" if end.reason == "stop" else "limit",
        "timings": timings_json(end.timings),
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
