"""What a model's output consists of, as it streams: reasoning, content and tool calls."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ReasoningText:
    """A piece of the model's thinking. Never empty."""

    text: str


@dataclass(frozen=True)
class ContentText:
    """A piece of the answer. Never empty."""

    text: str


@dataclass(frozen=True)
class ToolCallBegin:
    """A call's name is known. index: 0 for the output's first call. name: empty when the call has none."""

    index: int
    name: str


@dataclass(frozen=True)
class ToolCallText:
    """A piece of a call's arguments as JSON text; all pieces of a call make one object. Never empty."""

    index: int
    text: str


@dataclass(frozen=True)
class ToolCallEnd:
    """A call is over. arguments: what the JSON text says.

    problem: None, or what is wrong with the call: it is unfinished or malformed, and `arguments` is what
    could be read of it.
    """

    index: int
    name: str
    arguments: dict[str, Any]
    problem: str | None


Event = ReasoningText | ContentText | ToolCallBegin | ToolCallText | ToolCallEnd
