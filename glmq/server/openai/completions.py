"""/v1/completions: texts that are continued, as editors and lm-eval ask for them."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from starlette.requests import Request
from starlette.responses import Response

from ...chat.events import ContentText
from ...token_logprobs import TokenLogprob
from ..answer_events import Finished, Piece, WholeAnswer
from ..answer_run import AnswerRun
from ..declared_route import EVENTS, post
from ..event_stream import EventStream, comment, data_line, unless_gone
from ..json_text import JsonResponse
from ..request_body import read_body
from ..service import Service
from .answers import TextCompletion
from .chat import DONE, stream_error
from .completion_request import CompletionBody, CompletionCall, read_completion
from .usage import FINISH_REASONS, finite, timings_json, total_usage, usage_json

if TYPE_CHECKING:
    from ...tokenizer import Tokenizer


async def completions(request: Request) -> Response:
    """Continue texts."""
    service: Service = request.app.state.service
    call = read_completion(await read_body(request, CompletionBody), service.model_name)
    run = await service.begin_completions(call.request)
    if call.stream:
        return EventStream(
            _stream(service, call, run), service.settings.ping_seconds, run.cancel, stream_error
        )
    n_made = call.request.limits.n
    answers = await unless_gone(request, service.whole(run, len(call.request.prompts) * n_made))
    told = [
        answer
        for i in range(0, len(answers), n_made)
        for answer in _best(answers[i : i + n_made], call.n_told)
    ]
    tokenizer = service.model.tokenizer
    choices = [
        _choice(
            i,
            answer.content,
            _logprobs(answer.logprobs, tokenizer) if call.includes_logprobs else None,
            answer.end,
        )
        for i, answer in enumerate(told)
    ]
    ends = [answer.end for answer in answers]
    return JsonResponse(
        {
            **_head(service, call),
            "choices": choices,
            "usage": _usage(call, ends),
            "timings": timings_json(ends[0].timings),
        }
    )


ROUTES = [post("/v1/completions", completions, CompletionBody, TextCompletion, EVENTS)]


def _best(answers: list[WholeAnswer], n: int) -> list[WholeAnswer]:
    """The `n` answers whose tokens are likeliest on average."""
    return answers if n == len(answers) else sorted(answers, key=_likelihood, reverse=True)[:n]


def _likelihood(answer: WholeAnswer) -> float:
    n_generated = answer.end.usage.completion_tokens
    if not n_generated:
        return 0.0
    return sum(each.logprob for each in answer.logprobs[-n_generated:] if each is not None) / n_generated


def _head(service: Service, call: CompletionCall) -> dict[str, Any]:
    return {
        "id": f"cmpl-{uuid4().hex}",
        "object": "text_completion",
        "created": int(time.time()),
        "model": call.model,
        "system_fingerprint": service.fingerprint,
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
    head, ends = _head(service, call), []
    tokenizer = service.model.tokenizer
    offsets: dict[int, int] = {}
    async with aclosing(service.events(run)) as events:
        yield comment("accepted")
        async for event in events:
            if isinstance(event, Piece) and isinstance(event.event, ContentText):
                offset = offsets.get(event.choice, 0)
                offsets[event.choice] = offset + len(event.event.text)
                logprobs = _logprobs(event.logprobs, tokenizer, offset) if call.includes_logprobs else None
                choice = _choice(event.choice, event.event.text, logprobs, None)
                yield data_line({**head, "choices": [choice]})
            elif isinstance(event, Finished):
                ends.append(event)
                choice = _choice(event.choice, "", None, event)
                yield data_line({**head, "choices": [choice], "timings": timings_json(event.timings)})
            elif not isinstance(event, Piece):
                yield comment(f"prompt: {event.n_done} of {event.n_wanted} tokens")
    if call.includes_usage:
        yield data_line({**head, "choices": [], "usage": _usage(call, ends)})
    yield DONE
