"""What Anthropic's paths give, as it is described (`openapi.py`)."""

from __future__ import annotations

from typing import Literal

from ..declared_route import Answered


class MessageBlock(Answered):
    """Thinking, a text or a call."""

    type: Literal["thinking", "text", "tool_use"]


class MessageUsage(Answered):
    """Tokens; those of the prompt that were cached count apart."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class MessageObject(Answered):
    """An answer to a conversation."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[MessageBlock]
    stop_reason: Literal[
        "end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"
    ]
    stop_sequence: str | None
    usage: MessageUsage


class TokenCount(Answered):
    """How many tokens a conversation's prompt has."""

    input_tokens: int
