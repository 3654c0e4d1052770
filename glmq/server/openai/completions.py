"""/v1/completions: texts that are continued, as editors and lm-eval ask for them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...chat.events import ContentText
from ...token_logprobs import TokenLogprob
from ..answer_events import Finished, Piece
from ..answer_run import AnswerRun
from ..api_error import BadRequest
from ..event_stream import EventStream, comment, data_line, unless_gone
from ..fields import Fields
from ..json_text import JsonResponse
from ..request_body import read_fields
from ..requests import CompletionRequest, Limits
from ..sampling_fields import form_of, sampling_of, stop_of
from ..service import Service
from ..settings import MAX_CHOICES, MAX_LOGPROBS, MAX_NAME
from .chat import DONE, stream_error
from .usage import FINISH_REASONS, finite, timings_json, total_usage, usage_json

if TYPE_CHECKING:
    from ...tokenizer import Tokenizer

MAX_PROMPTS = 128
DEFAULT_MAX_TOKENS = 256
"""Where the request does not say; OpenAI's 16 is too short for what clients of local servers expect."""


@dataclass(frozen=True)
class CompletionCall:
    """A request and how its answer is to be sent."""

    request: CompletionRequest
    model: str
    stream: bool
    includes_usage: bool


async def completions(request: Request) -> Response:
    """POST /v1/completions."""
    service: Service = request.app.state.service
    call = read_completion(await read_fields(request), service.model_name)
    run = await service.begin_completions(call.request)
    if call.stream:
        return EventStream(
            _stream(service, call, run), service.settings.ping_seconds, run.cancel, stream_error
        )
    n_answers = len(call.request.prompts) * call.request.limits.n
    answers = await unless_gone(request, service.whole(run, n_answers))
    wants_logprobs = call.request.limits.logprobs is not None
    choices = [
        _choice(i, answer.content, _logprobs(answer.logprobs, service.model.tokenizer), answer.end)
        if wants_logprobs
        else _choice(i, answer.content, None, answer.end)
        for i, answer in enumerate(answers)
    ]
    ends = [answer.end for answer in answers]
    body = {**_head(call), "choices": choices, "usage": _usage(call, ends), "timings": timings_json(ends[0])}
    return JsonResponse(body)


ROUTES = [Route("/v1/completions", completions, methods=["POST"])]


def read_completion(fields: Fields, model_name: str) -> CompletionCall:
    """A body of /v1/completions. Raises ApiError."""
    n_logprobs = fields.values.get("logprobs")
    if n_logprobs is True:
        n_logprobs = 1
    elif n_logprobs is not None and n_logprobs is not False:
        n_logprobs = fields.integer("logprobs", least=0, most=MAX_LOGPROBS)
    max_tokens = fields.integer("max_tokens", DEFAULT_MAX_TOKENS, least=-1, most=10**9)
    limits = Limits(
        None if max_tokens == -1 else max_tokens,
        stop_of(fields),
        fields.integer("n", 1, least=1, most=MAX_CHOICES),
        None if n_logprobs is False else n_logprobs,
    )
    stream_options = fields.object("stream_options")
    request = CompletionRequest(
        _prompts(fields.values.get("prompt")),
        bool(fields.switch("echo", False)),
        form_of(fields),
        sampling_of(fields),
        limits,
    )
    return CompletionCall(
        request,
        fields.text("model", max_length=MAX_NAME) or model_name,
        bool(fields.switch("stream", False)),
        bool(stream_options is not None and stream_options.switch("include_usage", False)),
    )


def _prompts(value: object) -> list[str | list[int]]:
    """From a text, a list of texts, token ids, or a list of lists of them."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and len(value) <= MAX_PROMPTS and all(map(_is_prompt, value)):
        return list(value)
    if isinstance(value, list) and value and _is_prompt(value):
        return [value]
    raise BadRequest(
        f"prompt must be a string, token ids, or a list of up to {MAX_PROMPTS} of these", "prompt"
    )


def _is_prompt(value: object) -> bool:
    if isinstance(value, str):
        return True
    return isinstance(value, list) and all(type(token) is int for token in value)


def _head(call: CompletionCall) -> dict[str, Any]:
    return {
        "id": f"cmpl-{uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": call.model,
    }


def _choice(
    index: int, text: str, logprobs: dict[str, Any] | None, finished: Finished | None
) -> dict[str, Any]:
    reason = None if finished is None else FINISH_REASONS[finished.reason]
    return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}


def _logprobs(
    logprobs: Iterable[TokenLogprob | None], tokenizer: Tokenizer, offset: int = 0
) -> dict[str, Any]:
    """In the form of this endpoint, where each token has an offset in characters."""
    told: dict[str, list[Any]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for each in logprobs:
        if each is None:
            continue
        text = tokenizer.token_text(each.token)
        logprob = finite(each.logprob)
        top = {tokenizer.token_text(token): finite(other) for token, other in each.top}
        told["tokens"].append(text)
        told["token_logprobs"].append(logprob)
        told["top_logprobs"].append(None if logprob is None else {**top, text: logprob})
        told["text_offset"].append(offset)
        offset += len(text)
    return told


def _usage(call: CompletionCall, ends: list[Finished]) -> dict[str, Any]:
    """Over all prompts, each counted once."""
    n = call.request.limits.n
    ordered = sorted(ends, key=lambda each: each.choice)
    usages = [usage_json(total_usage(ordered[i : i + n])) for i in range(0, len(ordered), n)]
    total = usages[0]
    for other in usages[1:]:
        for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
            total[name] += other[name]
        total["prompt_tokens_details"]["cached_tokens"] += other["prompt_tokens_details"]["cached_tokens"]
    return total


async def _stream(service: Service, call: CompletionCall, run: AnswerRun) -> AsyncGenerator[bytes, None]:
    head, ends = _head(call), []
    tokenizer, wants_logprobs = service.model.tokenizer, call.request.limits.logprobs is not None
    offsets: dict[int, int] = {}
    async with aclosing(service.events(run)) as events:
        yield comment("accepted")
        async for event in events:
            if isinstance(event, Piece) and isinstance(event.event, ContentText):
                offset = offsets.get(event.choice, 0)
                offsets[event.choice] = offset + len(event.event.text)
                logprobs = _logprobs(event.logprobs, tokenizer, offset) if wants_logprobs else None
                choice = _choice(event.choice, event.event.text, logprobs, None)
                yield data_line({**head, "choices": [choice]})
            elif isinstance(event, Finished):
                ends.append(event)
                choice = _choice(event.choice, "", None, event)
                yield data_line({**head, "choices": [choice], "timings": timings_json(event)})
            elif not isinstance(event, Piece):
                yield comment(f"prompt: {event.n_done} of {event.n_wanted} tokens")
    if call.includes_usage:
        yield data_line({**head, "choices": [], "usage": _usage(call, ends)})
    yield DONE
