"""A request for continuations of texts, as it is declared and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from ..api_error import BadRequest
from ..declared import Limit, Name, TokenId, Whole
from ..infill import InfillText
from ..requests import CompletionRequest, Limits, Prompt
from ..sampling_fields import FormFields, SamplingFields, Stop, stop_texts
from ..settings import MAX_CHOICES, MAX_LOGPROBS
from .chat_request import StreamOptions

MAX_PROMPTS = 128
DEFAULT_MAX_TOKENS = 256
"""Where the request does not say; OpenAI's 16 is too short for what clients of local servers expect."""

Prompts = Annotated[list[str | list[TokenId]], Field(min_length=1, max_length=MAX_PROMPTS)]


class CompletionBody(SamplingFields, FormFields):
    """Texts, or token ids, to be continued."""

    prompt: str | Annotated[list[TokenId], Field(min_length=1)] | Prompts
    model: Name | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: Limit | None = None
    suffix: str | None = None
    echo: bool | None = None
    stop: Stop = None
    n: Annotated[int, Field(ge=1, le=MAX_CHOICES), Whole] | None = None
    best_of: Annotated[int, Field(ge=1, le=MAX_CHOICES), Whole] | None = None
    logprobs: bool | Annotated[int, Field(ge=0, le=MAX_LOGPROBS), Whole] | None = None


@dataclass(frozen=True)
class CompletionCall:
    """A request and how its answer is to be sent. n_told: how many of each prompt's answers are told."""

    request: CompletionRequest
    model: str
    stream: bool
    includes_usage: bool
    includes_logprobs: bool
    n_told: int


def read_completion(body: CompletionBody, model_name: str) -> CompletionCall:
    """A request of /v1/completions. Raises BadRequest."""
    n = body.n or 1
    n_made = body.best_of or n
    if n_made < n:
        raise BadRequest("best_of must be at least n", "best_of")
    if body.stream and n_made > n:
        raise BadRequest("the best of several answers cannot be streamed; leave out best_of", "best_of")
    n_logprobs = None if body.logprobs is None or body.logprobs is False else int(body.logprobs)
    ranks = n_made > n and n_logprobs is None
    max_tokens = DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    request = CompletionRequest(
        _prompts(body),
        bool(body.echo),
        body.form(),
        body.sampling(),
        Limits(
            None if max_tokens == -1 else max_tokens,
            stop_texts(body.stop),
            n_made,
            0 if ranks else n_logprobs,
            bool(body.ignore_eos),
        ),
    )
    include_usage = body.stream_options is not None and body.stream_options.include_usage
    return CompletionCall(
        request, body.model or model_name, bool(body.stream), bool(include_usage), n_logprobs is not None, n
    )


def _prompts(body: CompletionBody) -> list[Prompt]:
    """The prompts; with a suffix, texts between which and the suffix something is to be filled in."""
    given = body.prompt
    prompts: list[Prompt] = [given] if _is_one(given) else list(given)  # type: ignore[list-item, arg-type]
    if not body.suffix:
        return prompts
    texts = [prompt for prompt in prompts if isinstance(prompt, str)]
    if len(texts) < len(prompts):
        raise BadRequest("a suffix needs a prompt that is text", "suffix")
    return [InfillText(text, body.suffix) for text in texts]


def _is_one(prompt: object) -> bool:
    return isinstance(prompt, str) or (isinstance(prompt, list) and isinstance(prompt[0], int))
