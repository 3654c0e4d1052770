"""What OpenAI's paths give, as it is described (`openapi.py`)."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from ..declared_route import Answered


class TokenUsage(Answered):
    """Tokens."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: dict[str, int]
    completion_tokens_details: dict[str, int]


class Speeds(BaseModel):
    """Tokens, times and speeds, by llama-server's names. draft_n: guesses that were checked."""

    cache_n: int
    prompt_n: int
    prompt_ms: float
    prompt_per_second: float
    predicted_n: int
    predicted_ms: float
    predicted_per_second: float
    draft_n: int | None = None
    draft_n_accepted: int | None = None


class AnsweredFunction(BaseModel):
    """A call's function. arguments: JSON as text."""

    name: str
    arguments: str


class AnsweredCall(BaseModel):
    """A call."""

    id: str
    type: Literal["function"]
    function: AnsweredFunction


class AnsweredMessage(Answered):
    """The answer."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[AnsweredCall] | None = None


class ChatChoice(Answered):
    """One of the answers."""

    index: int
    message: AnsweredMessage
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ChatCompletion(Answered):
    """Answers to a conversation."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    system_fingerprint: str
    choices: list[ChatChoice]
    usage: TokenUsage
    timings: Speeds


class TextChoice(Answered):
    """One of the continuations."""

    index: int
    text: str
    logprobs: dict[str, list[Any]] | None
    finish_reason: Literal["stop", "length"]


class TextCompletion(Answered):
    """Continuations of texts."""

    id: str
    object: Literal["text_completion"]
    created: int
    model: str
    choices: list[TextChoice]
    usage: TokenUsage
    timings: Speeds


class ResponseUsage(Answered):
    """Tokens."""

    input_tokens: int
    input_tokens_details: dict[str, int]
    output_tokens: int
    output_tokens_details: dict[str, int]
    total_tokens: int


class ResponseItem(Answered):
    """Thinking, a message or a call."""

    id: str
    type: Literal["reasoning", "message", "function_call"]
    status: Literal["in_progress", "completed", "incomplete"]


class ResponseObject(Answered):
    """A response."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: dict[str, Any] | None
    incomplete_details: dict[str, Any] | None
    model: str
    output: list[ResponseItem]
    usage: ResponseUsage | None
    parallel_tool_calls: bool
    store: bool


class InputTokens(Answered):
    """How many tokens a response's prompt would have."""

    object: Literal["response.input_tokens"]
    input_tokens: int


class DeletedResponse(Answered):
    """A response that is no longer kept."""

    id: str
    object: Literal["response"]
    deleted: Literal[True]


class ModelObject(Answered):
    """The model, in OpenAI's form or in Anthropic's."""

    id: str


class ModelList(Answered):
    """The models: one."""

    data: list[ModelObject]
