"""From a GLM model's output, as it streams, to events: reasoning, content and tool calls.

What GLM-4.5, 4.6 and 4.7 write (their chat templates show it): thinking between `<think>` and `</think>`,
then the answer, then tool calls; again thinking after a call. What begins a tag is held until it is one or
not, so the events do not depend on how the text is cut.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from itertools import islice
from typing import Any

from .answer_tags import CALL_TAGS, END_THINK, THINK, THINKING_TAGS, TOOL_CALL, TagSplitter
from .call_header import Beginning, CallHeader
from .events import ContentText, Event, ReasoningText, ToolCallEnd
from .offered_tools import OfferedTools
from .text_run import TextRun
from .tool_call_parser import ToolCallParser, json_call

_MOST_UNCLOSED = 8
"""Calls and their beginnings that the output's end finds open, one after another. Behind these no reading
looks far ahead, since each of them reads all that follows it anew."""


class _Phase(Enum):
    REASONING = auto()
    CONTENT = auto()
    HEADER = auto()
    """`<tool_call>` was read: what follows is a call or text about calls."""
    CALL = auto()
    BETWEEN_CALLS = auto()
    """A call has ended that is one only if no more text follows."""
    ALL_CONTENT = auto()
    """Everything is content, whatever it looks like."""


@dataclass
class _PendingCalls:
    """Calls that count if the output ends with them. pieces: all of them, as they came.

    n_reread: how many of them come once more. is_whole: whether those of unknown tools have the form of
    calls. n_open_thinks: `<think>` in them that no
    `</think>` follows.
    """

    pieces: list[str] = field(default_factory=list)
    n_reread: int = 0
    events: list[Event] = field(default_factory=list)
    n_calls: int = 0
    is_whole: bool = True
    n_open_thinks: int = 0

    def give_back(self, end: Iterable[str]) -> None:
        """Leave out the text at the end, which is to be read anew."""
        self.n_reread = 0
        n_left = sum(map(len, end))
        while n_left > 0:
            piece = self.pieces.pop()
            n_left -= len(piece)
            if n_left < 0:
                self.pieces.append(piece[:-n_left])


class OutputParser:
    """Push text as it is generated, then finish; each gives the events that are certain by then.

    - `<think>` counts at the beginning, behind `</think>` and behind a call, where no content has come yet;
      elsewhere it is text. A `</think>` there closes nothing and is left out. Unclosed thinking is thinking.
      Thinking behind other thinking begins with an empty line.
    - A call begins where `call_header.py` says; every other `<tool_call>` is text, and without tools all
      tags of calls are. How a call is read and repaired says `tool_call_parser.py`.
    - In thinking a call counts if the thinking ends with it and is never closed; else it is quoted. So it is
      with a whole call of a tool that is not offered, in content too: it is a call, which has a problem, if
      the output ends with it, else text.
    - Left out: blank lines before reasoning and before content that is the first or follows a `</think>`;
      white space that ends reasoning, stands before a call, or follows a call and no content comes.

    tools: OpenAI's definitions, whose schemas give the types of the arguments. in_reasoning: the prompt
    ends with `<think>` (GLM-4.7), so that the output begins inside it. continues: the prompt ends with the
    beginning of the text, be it thinking or content. is_constrained: behind the thinking comes what a
    constraint allows, all of it content.
    """

    def __init__(
        self,
        tools: Iterable[Mapping[str, Any]] = (),
        *,
        in_reasoning: bool,
        continues: bool = False,
        is_constrained: bool = False,
    ) -> None:
        self._tools = OfferedTools(() if is_constrained else tools)
        self._splitter = TagSplitter(THINKING_TAGS | CALL_TAGS if self._tools.names else THINKING_TAGS)
        self._queue: deque[str] = deque()
        self._is_constrained = is_constrained
        self._phase = self._text_phase = _Phase.REASONING if in_reasoning else _Phase.CONTENT
        self._is_think_open = in_reasoning
        self._reasoning = TextRun(continues and in_reasoning)
        self._content = TextRun(continues and not in_reasoning)
        self._n_calls = 0
        self._n_unclosed = 0
        self._header = CallHeader(self._tools)
        self._header_pieces: list[str] = []
        self._call: ToolCallParser | None = None
        self._beginning = Beginning("")
        self._pending: _PendingCalls | None = None
        self._last_quoted: list[Event] = []

    @property
    def is_thinking(self) -> bool:
        """Whether thinking has begun that is not closed, and no call has ended it."""
        return self._is_think_open and self._text_phase is _Phase.REASONING

    @property
    def _looks_far(self) -> bool:
        return self._n_unclosed < _MOST_UNCLOSED

    def push(self, text: str) -> list[Event]:
        """The events that the output's next piece brings."""
        self._queue.extend(self._splitter.push(text))
        return self._take_queued()

    def finish(self, *, ended_by_model: bool = False) -> list[Event]:
        """The events that the output's end brings. Nothing may be pushed after it.

        ended_by_model: the model ended it. Then a call that lacks only `</tool_call>` is complete, and calls
        in thinking that was never closed count even where text follows them.
        """
        self._queue.extend(self._splitter.flush())
        events = self._take_queued()
        while True:
            if self._phase is _Phase.HEADER:
                self._header.end()
                events += self._end_header(ended_by_model)
            elif self._call is not None:
                events += self._kept(self._call.end(ended_by_model))
                self._end_call()
            else:
                break
            self._n_unclosed += 1
            events += self._take_queued()
        if self._pending is not None:
            events += self._settle() if self._pending.is_whole else self._release()
        if self._last_quoted and self._text_phase is _Phase.REASONING and ended_by_model:
            events += self._last_quoted
            self._text_phase = _Phase.CONTENT
        if self._phase in (_Phase.CONTENT, _Phase.ALL_CONTENT):
            events += _content(self._content.flush())
        return events

    def _take_queued(self) -> list[Event]:
        events: list[Event] = []
        while self._queue:
            events += self._take(self._queue.popleft())
        return events

    def _take(self, piece: str) -> list[Event]:
        match self._phase:
            case _Phase.REASONING:
                return self._take_in_reasoning(piece)
            case _Phase.CONTENT:
                return self._take_in_content(piece)
            case _Phase.HEADER:
                return self._take_in_header(piece)
            case _Phase.CALL:
                return self._take_in_call(piece)
            case _Phase.BETWEEN_CALLS:
                return self._take_between_calls(piece)
            case _Phase.ALL_CONTENT:
                return _content(self._content.push(piece))

    def _take_in_reasoning(self, piece: str) -> list[Event]:
        if piece == END_THINK:
            self._close_think()
        elif piece == TOOL_CALL and self._tools.names:
            self._open_header()
        elif piece != THINK or self._reasoning.is_begun:
            return _reasoning(self._reasoning.push(piece))
        return []

    def _take_in_content(self, piece: str) -> list[Event]:
        is_at_beginning = not self._content.is_begun
        if piece == TOOL_CALL and self._tools.names:
            self._open_header()
        elif piece == END_THINK and (self._is_think_open or is_at_beginning):
            self._close_think()
        elif piece == THINK and is_at_beginning:
            self._phase = self._text_phase = _Phase.REASONING
            self._is_think_open = True
            self._reasoning.new_paragraph()
        else:
            if self._is_constrained and piece.strip():
                self._phase = _Phase.ALL_CONTENT
            return _content(self._content.push(piece))
        return []

    def _close_think(self) -> None:
        self._phase = _Phase.ALL_CONTENT if self._is_constrained else _Phase.CONTENT
        self._text_phase = _Phase.CONTENT
        self._is_think_open = False
        self._last_quoted = []
        self._content.restart()

    def _open_header(self) -> None:
        self._phase = _Phase.HEADER
        self._header = CallHeader(self._tools, looks_far=self._looks_far)
        self._header_pieces = []

    def _take_in_header(self, piece: str) -> list[Event]:
        self._header_pieces.append(piece)
        if piece == END_THINK and self._text_phase is _Phase.REASONING:
            return self._refuse_header()
        self._header.push(piece)
        return self._end_header() if self._header.is_over else []

    def _end_header(self, ended_by_model: bool = False) -> list[Event]:
        if self._header.beginning is None:
            return self._refuse_header()
        return self._begin_call(self._header.beginning, ended_by_model)

    def _refuse_header(self) -> list[Event]:
        """Take `<tool_call>` as text, and read what came behind it anew."""
        events = self._release() if self._pending is not None else []
        self._queue.extendleft(reversed(self._header_pieces))
        self._phase = self._text_phase
        return events + self._say(TOOL_CALL)

    def _begin_call(self, beginning: Beginning, ended_by_model: bool) -> list[Event]:
        events: list[Event] = []
        in_reasoning = self._text_phase is _Phase.REASONING
        if in_reasoning or not beginning.is_offered:
            stands_alone = in_reasoning or self._content.is_at_line_start
            self._pending = self._pending or _PendingCalls(is_whole=stands_alone or not beginning.is_bare)
        elif self._pending is not None:
            events = self._settle()
        self._queue.extendleft(reversed(self._header.leftover))
        index = self._n_calls
        if self._pending is None:
            self._n_calls += 1
        else:
            index += self._pending.n_calls
            self._pending.n_calls += 1
            self._pending.pieces += [TOOL_CALL, *self._header_pieces]
            self._pending.n_reread = len(self._header.leftover)
        self._phase, self._beginning = _Phase.CALL, beginning
        if beginning.arguments is not None:
            events += self._kept(json_call(index, beginning, ended_by_model))
            self._end_call()
        else:
            self._call = ToolCallParser(index, beginning, self._tools, looks_far=self._looks_far)
            events += self._kept(self._call.begin())
        return events

    def _take_in_call(self, piece: str) -> list[Event]:
        assert self._call is not None
        if self._pending is not None:
            self._pending.n_open_thinks += (piece == THINK) - (piece == END_THINK)
            if self._pending.n_open_thinks < 0:
                if self._text_phase is _Phase.REASONING:
                    return self._release() + self._take(piece)
                self._pending.n_open_thinks = 0
            if self._pending.n_reread:
                self._pending.n_reread -= 1
            else:
                self._pending.pieces.append(piece)
        events = self._kept(self._call.push(piece))
        if self._call.is_over:
            self._end_call()
        return events

    def _end_call(self) -> None:
        leftover = self._call.leftover if self._call is not None else []
        if self._pending is not None:
            self._pending.give_back([*leftover, *islice(self._queue, self._pending.n_reread)])
        self._queue.extendleft(reversed(leftover))
        self._call = None
        if self._pending is not None:
            self._phase = _Phase.BETWEEN_CALLS
            last = self._pending.events[-1]
            is_flawed = isinstance(last, ToolCallEnd) and last.problem != self._beginning.problem
            self._pending.is_whole &= self._beginning.is_offered or not is_flawed
        else:
            self._phase = _Phase.CONTENT
            self._content.restart(keep_blank_lines=self._content.is_said)

    def _take_between_calls(self, piece: str) -> list[Event]:
        assert self._pending is not None
        if piece.isspace():
            self._pending.pieces.append(piece)
        elif piece == TOOL_CALL:
            self._open_header()
        else:
            return self._release() + self._take(piece)
        return []

    def _kept(self, events: list[Event]) -> list[Event]:
        """The events that may go out; pending ones wait."""
        if self._pending is None:
            return events
        self._pending.events += events
        return []

    def _settle(self) -> list[Event]:
        """The pending calls are calls."""
        assert self._pending is not None
        pending, self._pending = self._pending, None
        self._n_calls += pending.n_calls
        self._phase = self._text_phase = _Phase.CONTENT
        self._last_quoted = []
        self._content.restart(keep_blank_lines=self._content.is_said)
        return pending.events

    def _release(self) -> list[Event]:
        """The pending calls are text."""
        assert self._pending is not None
        pending, self._pending = self._pending, None
        self._call = None
        self._phase = self._text_phase
        self._last_quoted = pending.events if self._text_phase is _Phase.REASONING else []
        return self._say("".join(pending.pieces))

    def _say(self, text: str) -> list[Event]:
        if self._text_phase is _Phase.REASONING:
            return _reasoning(self._reasoning.push(text))
        return _content(self._content.push(text))


def _reasoning(text: str) -> list[Event]:
    return [ReasoningText(text)] if text else []


def _content(text: str) -> list[Event]:
    return [ContentText(text)] if text else []
