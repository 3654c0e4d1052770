"""A model's answer in a conversation, as it is generated: thinking, content and tool calls told apart."""

from __future__ import annotations

import uuid
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..answer_costs import Timings, Usage
from ..answer_stream import AnswerStream, described
from ..stop_texts import StopTexts
from .events import ContentText, Event, ReasoningText, ToolCallBegin, ToolCallEnd
from .messages import Message
from .output_parser import OutputParser
from .streamed_answer import StreamedAnswer


class Text(Protocol):
    """What an answer is made from: a `glmq.Generation`, or something like it."""

    @property
    def finish_reason(self) -> str | None:
        """None while it runs."""

    @property
    def looping(self) -> bool:
        """Whether its end repeats itself."""

    @property
    def timings(self) -> Timings:
        """What it has cost so far."""

    def __iter__(self) -> Iterator[str]: ...

    def cancel(self) -> None:
        """End it at the next token."""


@dataclass
class _Parts:
    """What has come of an answer so far. n_counted: tokens that are counted; n_reasoning: as thinking."""

    reasoning: list[str] = field(default_factory=list)
    content: list[str] = field(default_factory=list)
    calls: list[Message] = field(default_factory=list)
    n_counted: int = 0
    n_reasoning: int = 0

    def keep(self, event: Event, n_generated: int) -> None:
        """Take an event in, which is there after so many tokens."""
        if isinstance(event, ReasoningText):
            self.n_reasoning += n_generated - self.n_counted
        self.n_counted = n_generated
        if isinstance(event, ReasoningText):
            self.reasoning.append(event.text)
        elif isinstance(event, ContentText):
            self.content.append(event.text)
        elif isinstance(event, ToolCallBegin):
            self.calls.append(_call(event.name, {}, "the answer was stopped inside it"))
        elif isinstance(event, ToolCallEnd):
            call = _call(event.name, event.arguments, event.problem)
            self.calls[event.index] = call | {"id": self.calls[event.index]["id"]}


def _events(
    generation: Text, parser: OutputParser, stop: StopTexts, parts: _Parts
) -> Generator[Event, None, None]:
    """The events of an answer. It does not hold the answer, which so ends when it is let go of."""

    def keep(event: Event) -> None:
        parts.keep(event, generation.timings.n_generated)

    pieces = iter(generation)
    finished = False
    try:
        for piece in pieces:
            for event in _before_stop(parser.push(piece), stop):
                keep(event)
                yield event
            if stop.found:
                break
        finished = True
        if stop.found:
            generation.cancel()
            for _ in pieces:  # so that it ends now
                pass
        for event in _last(generation, parser, stop):
            keep(event)
            yield event
    finally:
        if not finished:
            generation.cancel()
            for _ in pieces:  # so that its session is free
                pass
            # After Ctrl-C what was held back belongs to the answer too.
            for event in _last(generation, parser, stop):
                keep(event)


def _last(generation: Text, parser: OutputParser, stop: StopTexts) -> Iterator[Event]:
    """The events that the end of the output brings."""
    ended_by_model = generation.finish_reason == "stop"
    yield from _before_stop(parser.finish(ended_by_model=ended_by_model), stop)
    if text := stop.flush():
        yield ContentText(text)


def _before_stop(events: Iterable[Event], stop: StopTexts) -> Iterator[Event]:
    """The events before a stop text in the content. What may begin one waits for what follows."""
    for event in events:
        if stop.found:
            return
        text = stop.push(event.text) if isinstance(event, ContentText) else stop.flush()
        if text:
            yield ContentText(text)
        if not isinstance(event, ContentText):
            yield event


class Answer(StreamedAnswer[Event]):
    """The model's next message; see `StreamedAnswer` for how to read it.

    content, reasoning, tool_calls, message: what has come so far. Calls have OpenAI's form, arguments as an
    object; one that is unfinished or malformed has a `problem`, and should not be run. notes: what of the
    request it is not held to, a line each.

    stop: texts that end it where they stand in the content. In thinking and in arguments of calls they are
    text like any other.
    """

    def __init__(
        self, generation: Text, parser: OutputParser, stop: Sequence[str] = (), notes: Sequence[str] = ()
    ) -> None:
        self.generation, self.notes = generation, tuple(notes)
        self._parser, self._stop = parser, StopTexts(stop)
        self._parts = _Parts()
        self._stream: AnswerStream[Event] = AnswerStream(
            _events(generation, parser, self._stop, self._parts),
            generation.cancel,
            lambda: generation.finish_reason == "cancelled",
        )

    @property
    def content(self) -> str:
        """The text that answers."""
        return "".join(self._parts.content)

    @property
    def reasoning(self) -> str:
        """The thinking."""
        return "".join(self._parts.reasoning)

    @property
    def tool_calls(self) -> list[Message]:
        """The calls."""
        return self._parts.calls

    @property
    def message(self) -> Message:
        """The assistant's message, for the conversation."""
        message: Message = {"role": "assistant", "content": self.content}
        if self.reasoning:
            message["reasoning_content"] = self.reasoning
        if self.tool_calls:
            message["tool_calls"] = self.tool_calls
        return message

    @property
    def finish_reason(self) -> str | None:
        """As a `Generation`'s, or "tool_calls" where the model ended it with calls that can be run."""
        reason = "stop" if self._stop.found else self.generation.finish_reason
        can_be_run = any("problem" not in call for call in self.tool_calls)
        return "tool_calls" if reason == "stop" and can_be_run else reason

    @property
    def ended_in_thinking(self) -> bool:
        """Whether it is over and the thinking was never closed, so that there is no answer."""
        return self.finish_reason is not None and self._parser.is_thinking

    @property
    def looping(self) -> bool:
        """Whether its end repeats itself (see `Generation`)."""
        return self.generation.looping

    @property
    def stop_text(self) -> str | None:
        """The stop text that ended it, if one did."""
        return self._stop.text

    @property
    def timings(self) -> Timings:
        """What it cost, thinking included."""
        return self.generation.timings

    @property
    def usage(self) -> Usage:
        """Tokens so far."""
        return Usage.of(self.timings, self._parts.n_reasoning)

    def __repr__(self) -> str:
        return described("Answer", self.content, self.finish_reason, self.timings.n_generated)


def _call(name: str, arguments: dict[str, Any], problem: str | None) -> Message:
    """A call in OpenAI's form."""
    call: Message = {
        "id": f"call_{uuid.uuid4().hex[:24]}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }
    return call if problem is None else call | {"problem": problem}
