"""A turn of a conversation: the model's answer to a message, with the rounds of tool calls that it makes."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace

from ..answer_costs import Timings, Usage
from ..answer_stream import AnswerStream, described
from ..tools.rounds import ToolCallResult
from .answer import Answer
from .events import Event
from .messages import Message
from .streamed_answer import StreamedAnswer
from .summary import Compaction

TurnEvent = Event | ToolCallResult | Compaction
"""Also results of calls, and that the conversation was made shorter before an answer."""


class Stopped(Exception):
    """The turn was cancelled."""


@dataclass(eq=False)
class TurnState:
    """What has come of a turn so far.

    answers: of the model, one for each round and the last. messages: what the turn has added to the
    conversation, when it is over. out_of_rounds: the limit of rounds of calls ended it. stopped: it ended
    before the model ended it. stream: the events, as long as somebody holds them.
    """

    answers: list[Answer] = field(default_factory=list)
    messages: list[Message] = field(default_factory=list)
    out_of_rounds: bool = False
    stopped: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    stream: weakref.ref[AnswerStream[TurnEvent]] | None = None

    def cancel(self) -> None:
        """End it at the next token; from any thread."""
        self.cancelled.set()
        for answer in self.answers[-1:]:
            answer.cancel()

    def require_going_on(self) -> None:
        """Raise Stopped when it has been cancelled."""
        if self.cancelled.is_set():
            raise Stopped

    def begin(self, answer: Answer) -> Answer:
        """Take the next answer in."""
        self.answers.append(answer)
        if self.cancelled.is_set():
            answer.cancel()
        return answer

    def settle(self) -> bool:
        """End it if it has been cancelled, which waits for the next token; gives whether it is over."""
        stream = self.stream() if self.stream is not None else None
        if stream is not None and self.cancelled.is_set():
            stream.close()
        return self.over.is_set()


class Turn(StreamedAnswer[TurnEvent]):
    """The answer to a message of a conversation: as an `Answer`, with all its rounds of tool calls.

    Its events are those of all rounds, with the results of calls, and a `Compaction` where older turns had to
    make room for an answer. It begins with the first piece, and until
    its end the conversation does nothing else. It has ended when it was read to its end, when it is cancelled
    or closed, and when nobody holds it any more. A call that runs is waited for.

    content, reasoning, tool_calls: of the last answer. usage, timings: of all.
    """

    def __init__(self, events: Callable[[TurnState], Generator[TurnEvent, None, None]]) -> None:
        self._state = state = TurnState()
        # The generator holds the state and not this object, so that it ends when this is let go of.
        self._stream: AnswerStream[TurnEvent] = AnswerStream(
            events(state), state.cancel, state.cancelled.is_set
        )
        state.stream = weakref.ref(self._stream)

    @property
    def answers(self) -> list[Answer]:
        """The model's answers, one for each round of calls and the last."""
        return list(self._state.answers)

    @property
    def messages(self) -> list[Message]:
        """What it has added to the conversation behind the question, when it is over."""
        return list(self._state.messages)

    @property
    def out_of_rounds(self) -> bool:
        """Whether the limit of rounds of calls ended it."""
        return self._state.out_of_rounds

    @property
    def finish_reason(self) -> str | None:
        """None while it goes on, then as the last answer's; "cancelled" too where it ended between two."""
        if not self.done:
            return None
        ended = self._state.over.is_set() and not self._state.stopped and self._state.answers
        return self._state.answers[-1].finish_reason if ended else "cancelled"

    @property
    def content(self) -> str:
        """The text of the last answer."""
        return self._state.answers[-1].content if self._state.answers else ""

    @property
    def reasoning(self) -> str:
        """The thinking of the last answer."""
        return self._state.answers[-1].reasoning if self._state.answers else ""

    @property
    def tool_calls(self) -> list[Message]:
        """The calls of the last answer."""
        return self._state.answers[-1].tool_calls if self._state.answers else []

    @property
    def looping(self) -> bool:
        """Whether the end of the last answer repeats itself."""
        return bool(self._state.answers) and self._state.answers[-1].looping

    @property
    def timings(self) -> Timings:
        """What all answers cost; cached is what was there before the first."""
        rounds = [answer.timings for answer in self._state.answers]
        return replace(sum(rounds, Timings()), n_cached=rounds[0].n_cached) if rounds else Timings()

    @property
    def usage(self) -> Usage:
        """Tokens of all answers so far."""
        n_reasoning = sum(answer.usage.reasoning_tokens for answer in self._state.answers)
        return Usage.of(self.timings, n_reasoning)

    def __repr__(self) -> str:
        return described("Turn", self.content, self.finish_reason, self.timings.n_generated)
