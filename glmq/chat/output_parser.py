"""From a GLM model's output, as it streams, to events: reasoning, content and tool calls.

What GLM-4.5, 4.6 and 4.7 write (their chat templates show it): thinking between `<think>` and `</think>`,
then the answer, then tool calls; again thinking after a call. What begins a tag is held until it is one or
not, so the events do not depend on how the text is cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from enum import Enum, auto
from typing import Any

from .argument_types import ArgumentTypes
from .events import ContentText, Event, ReasoningText
from .tool_call_parser import ARG_KEY, CALL_TAGS, END_TOOL_CALL, NAME, TOOL_CALL, ToolCallParser

THINK, END_THINK = "<think>", "</think>"
TAGS = CALL_TAGS | {THINK, END_THINK}

_ANY_TAG = re.compile("(" + "|".join(map(re.escape, sorted(TAGS))) + ")")
_BEGINNINGS = frozenset(tag[:n] for tag in TAGS for n in range(1, len(tag)))
_LONGEST_BEGINNING = max(map(len, _BEGINNINGS))
_CALL_BEGINNING = re.compile(rf"\s*(?:{NAME.pattern})?\s*")
_LONGEST_CALL_BEGINNING = 200


class _Phase(Enum):
    REASONING = auto()
    REASONING_OR_CALL = auto()
    """`<tool_call>` was read inside reasoning: a call, or the model thinks about calls."""
    CONTENT = auto()
    CALL = auto()


class OutputParser:
    """Push text as it is generated, then finish; each gives the events that are certain by then.

    - `<think>` counts at the beginning and after a call, where no content has come yet; elsewhere it is
      text. A `</think>` there closes nothing and is left out. Unclosed thinking is thinking.
    - A call inside unclosed thinking ends it when it looks like one: a name, then `<arg_key>` or
      `</tool_call>` or the end. Any other `<tool_call>` there is thinking; in content it begins a call.
    - `</arg_value>` ends a value when `<arg_key>`, `</tool_call>`, `<tool_call>` or the end follows,
      behind white space or none; elsewhere it is part of the value, as are all other tags.
    - Where an argument comes twice, the first value stands and the call has a problem.
    - Left out: blank lines before reasoning and before content that is the first or follows a `</think>`;
      white space that ends reasoning, stands before a call, or follows a call and no content comes.

    tools: OpenAI's definitions, whose schemas give the types of the arguments. in_reasoning: the prompt
    ends with `<think>` (GLM-4.7), so that the output begins inside it.
    """

    def __init__(self, tools: Iterable[Mapping[str, Any]] = (), *, in_reasoning: bool) -> None:
        self._types = ArgumentTypes(tools)
        self._tags = _TagSplitter()
        self._phase = _Phase.REASONING if in_reasoning else _Phase.CONTENT
        self._is_think_open = in_reasoning
        self._reasoning = _TextRun()
        self._content = _TextRun()
        self._call_beginning = ""
        self._n_calls = 0
        self._call = ToolCallParser(0, self._types)

    def push(self, text: str) -> list[Event]:
        """The events that the output's next piece brings."""
        return [event for piece in self._tags.push(text) for event in self._take(piece)]

    def finish(self) -> list[Event]:
        """The events that the output's end brings. Nothing may be pushed after it."""
        events = [event for piece in self._tags.flush() for event in self._take(piece)]
        if self._phase is _Phase.REASONING_OR_CALL:
            events += self._begin_call()
        if self._phase is _Phase.CALL:
            events += self._call.end("the output ended")
        elif self._phase is _Phase.CONTENT:
            events += _content(self._content.flush())
        return events

    def _take(self, piece: str) -> list[Event]:
        match self._phase:
            case _Phase.REASONING:
                return self._take_in_reasoning(piece)
            case _Phase.REASONING_OR_CALL:
                return self._take_in_reasoning_or_call(piece)
            case _Phase.CONTENT:
                return self._take_in_content(piece)
            case _Phase.CALL:
                return self._take_in_call(piece)

    def _take_in_reasoning(self, piece: str) -> list[Event]:
        if piece == END_THINK:
            self._close_think()
        elif piece == TOOL_CALL:
            self._phase = _Phase.REASONING_OR_CALL
            self._call_beginning = ""
        elif piece != THINK or self._reasoning.is_begun:
            return _reasoning(self._reasoning.push(piece))
        return []

    def _take_in_reasoning_or_call(self, piece: str) -> list[Event]:
        beginning = self._call_beginning + piece
        if len(beginning) <= _LONGEST_CALL_BEGINNING and _CALL_BEGINNING.fullmatch(beginning):
            self._call_beginning = beginning
            return []
        if piece in (ARG_KEY, END_TOOL_CALL) and self._call_beginning.strip():
            return self._begin_call() + self._take_in_call(piece)
        self._phase = _Phase.REASONING
        text = self._reasoning.push(TOOL_CALL + self._call_beginning)
        return _reasoning(text) + self._take_in_reasoning(piece)

    def _take_in_content(self, piece: str) -> list[Event]:
        if piece == TOOL_CALL:
            self._call_beginning = ""
            return self._begin_call()
        if piece == END_THINK and (self._is_think_open or not self._content.is_begun):
            self._close_think()
        elif piece == THINK and not self._content.is_begun:
            self._phase = _Phase.REASONING
            self._is_think_open = True
            self._reasoning.restart()
        else:
            return _content(self._content.push(piece))
        return []

    def _take_in_call(self, piece: str) -> list[Event]:
        if piece == TOOL_CALL and not self._call.in_value:
            self._call_beginning = ""
            return self._call.end("another call began") + self._begin_call()
        events = self._call.push(piece)
        if self._call.closed:
            self._phase = _Phase.CONTENT
            self._content.restart(keep_blank_lines=self._content.is_said)
        return events

    def _close_think(self) -> None:
        self._phase = _Phase.CONTENT
        self._is_think_open = False
        self._content.restart()

    def _begin_call(self) -> list[Event]:
        self._phase = _Phase.CALL
        self._call = ToolCallParser(self._n_calls, self._types)
        self._n_calls += 1
        return self._call.push(self._call_beginning) if self._call_beginning else []


class _TagSplitter:
    """Cuts text into tags and what is between them, and holds what may be a tag's beginning."""

    def __init__(self) -> None:
        self._held = ""

    def push(self, text: str) -> list[str]:
        """Tags, each whole, and texts between them; none is empty."""
        text = self._held + text
        start = text.rfind("<", max(0, len(text) - _LONGEST_BEGINNING))
        end = start if start >= 0 and text[start:] in _BEGINNINGS else len(text)
        self._held = text[end:]
        return [piece for piece in _ANY_TAG.split(text[:end]) if piece]

    def flush(self) -> list[str]:
        """The beginning of a tag that never came."""
        held, self._held = self._held, ""
        return [held] if held else []


class _TextRun:
    """Text of one kind: blank lines before it are left out, white space goes out when more follows.

    is_begun: whether something came since the last restart. is_said: whether something came at all.
    """

    def __init__(self) -> None:
        self.is_begun = self.is_said = False
        self._keeps_blank_lines = False
        self._held: list[str] = []

    def push(self, text: str) -> str:
        """What of the text, and of the white space before it, goes out."""
        end = len(text.rstrip())
        if not end:
            self._held.append(text)
            return ""
        out = "".join(self._held) + text[:end]
        if not (self.is_begun or self._keeps_blank_lines):
            n_space = len(out) - len(out.lstrip())
            out = out[out.rfind("\n", 0, n_space) + 1 :]
        self._held = [text[end:]]
        self.is_begun = self.is_said = True
        return out

    def flush(self) -> str:
        """The white space after what was said."""
        return "".join(self._held) if self.is_begun else ""

    def restart(self, keep_blank_lines: bool = False) -> None:
        """Forget the white space; the next text begins anew."""
        self.is_begun = False
        self._keeps_blank_lines = keep_blank_lines
        self._held = []


def _reasoning(text: str) -> list[Event]:
    return [ReasoningText(text)] if text else []


def _content(text: str) -> list[Event]:
    return [ContentText(text)] if text else []
