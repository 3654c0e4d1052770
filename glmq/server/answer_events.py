"""What comes of a request, in the form that all protocols share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from ..answer_costs import Timings, Usage
from ..chat.events import ContentText, Event, ReasoningText, ToolCallBegin, ToolCallEnd, ToolCallText
from ..token_logprobs import TokenLogprob

Reason = Literal["stop", "length", "context", "tool_calls", "cancelled"]


@dataclass(frozen=True)
class PromptRead:
    """How much of a prompt has been read, in tokens. choice: number of the answer."""

    choice: int
    n_done: int
    n_wanted: int


@dataclass(frozen=True)
class Piece:
    """A part of an answer. logprobs: of its tokens, where they are wanted. call_id: of a call that begins.

    timings: up to here.
    """

    choice: int
    event: Event
    logprobs: tuple[TokenLogprob | None, ...] = ()
    call_id: str = ""
    timings: Timings | None = None


@dataclass(frozen=True)
class Finished:
    """An answer is over. stop_text: the one that ended it."""

    choice: int
    reason: Reason
    usage: Usage
    timings: Timings
    stop_text: str | None = None


AnswerEvent = PromptRead | Piece | Finished


@dataclass
class Call:
    """A call of a whole answer. arguments: as JSON text; input: what could be read of it."""

    id: str
    name: str
    arguments: str = ""
    input: dict[str, Any] = field(default_factory=dict)


@dataclass
class WholeAnswer:
    """One answer, put together from its events."""

    reasoning: str = ""
    content: str = ""
    calls: list[Call] = field(default_factory=list)
    logprobs: list[TokenLogprob | None] = field(default_factory=list)
    finished: Finished | None = None

    def take(self, event: AnswerEvent) -> None:
        """Add an event of this answer."""
        if isinstance(event, Finished):
            self.finished = event
        elif isinstance(event, Piece):
            self.logprobs += event.logprobs
            self._take_part(event.event, event.call_id)

    @property
    def end(self) -> Finished:
        """How it ended."""
        assert self.finished is not None, "all events were taken"
        return self.finished

    def _take_part(self, part: Event, call_id: str) -> None:
        if isinstance(part, ReasoningText):
            self.reasoning += part.text
        elif isinstance(part, ContentText):
            self.content += part.text
        elif isinstance(part, ToolCallBegin):
            self.calls.append(Call(call_id, part.name))
        elif isinstance(part, ToolCallText):
            self.calls[part.index].arguments += part.text
        elif isinstance(part, ToolCallEnd):
            call = self.calls[part.index]
            call.name, call.arguments = part.name or call.name, call.arguments or "{}"
            call.input = part.arguments
