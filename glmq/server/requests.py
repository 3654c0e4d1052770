"""Requests in the form that all protocols share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ..chat.messages import Message
from .infill import InfillText


@dataclass(frozen=True)
class Form:
    """What an answer is held to: a JSON schema, or a grammar's text."""

    kind: Literal["json_schema", "grammar", "regex"]
    value: Any


@dataclass(frozen=True)
class Limits:
    """Where answers end, and how many there are.

    logprobs: likeliest tokens told for each token, None where log-probabilities are not wanted. ignore_eos:
    the model's own end ends no answer.
    """

    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    logprobs: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True)
class Thinking:
    """Whether to think, None as the model likes; for how many tokens; and whether earlier thinking is kept.

    keep: None where it is kept if the messages hold it.
    """

    enabled: bool | None = None
    budget: int | None = None
    keep: bool | None = None


@dataclass(frozen=True)
class ChatRequest:
    """A conversation to be answered. sampling: what differs from what suits the model."""

    messages: Sequence[Message]
    tools: Sequence[Mapping[str, Any]] = ()
    tool_choice: str | Mapping[str, Any] = "auto"
    max_tool_calls: int | None = None
    form: Form | None = None
    thinking: Thinking = Thinking()
    template_arguments: Mapping[str, Any] = field(default_factory=dict)
    continue_final_message: bool = False
    sampling: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = Limits()


Prompt = str | Sequence[int] | InfillText
"""A text, token ids, or a middle that is to be filled in."""


@dataclass(frozen=True)
class CompletionRequest:
    """What is to be continued. echo: the answer begins with the prompt."""

    prompts: Sequence[Prompt]
    echo: bool = False
    form: Form | None = None
    sampling: Mapping[str, Any] = field(default_factory=dict)
    limits: Limits = Limits()
