"""One tool call: from its text after `<tool_call>` to events.

GLM-4.5 and 4.6 put a line break after the name and after each tag, 4.7 puts nothing between them:

    <tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>

White space between the tags means nothing, so one reading serves both.
"""

from __future__ import annotations

import json
import re
from enum import Enum, auto
from typing import Any

from .argument_types import ArgumentType, ArgumentTypes
from .events import Event, ToolCallBegin, ToolCallEnd, ToolCallText

TOOL_CALL, END_TOOL_CALL = "<tool_call>", "</tool_call>"
ARG_KEY, END_ARG_KEY = "<arg_key>", "</arg_key>"
ARG_VALUE, END_ARG_VALUE = "<arg_value>", "</arg_value>"
CALL_TAGS = frozenset({TOOL_CALL, END_TOOL_CALL, ARG_KEY, END_ARG_KEY, ARG_VALUE, END_ARG_VALUE})

NAME = re.compile(r"[\w.:/-]+")
"""Names of tools: OpenAI's characters and those that MCP servers use."""

_SHOWN = 60
"""Characters of a text that a problem quotes."""
_SHOWN_PROBLEMS = 3


class _Part(Enum):
    NAME = auto()
    BETWEEN_ARGUMENTS = auto()
    KEY = auto()
    AFTER_KEY = auto()
    VALUE = auto()
    AFTER_VALUE = auto()
    """`</arg_value>` was read, which is the value's end or, as what follows shows, a part of it."""


class ToolCallParser:
    """Takes the pieces of one call: tags, each whole, and the text between them, in pieces of any size.

    closed: whether `</tool_call>` came.
    """

    def __init__(self, index: int, types: ArgumentTypes) -> None:
        self.closed = False
        self._index, self._types = index, types
        self._part = _Part.NAME
        self._name = self._key = ""
        self._arguments: dict[str, Any] = {}
        self._type = ArgumentType()
        self._is_repeated = False
        self._problems: list[str] = []
        self._text: list[str] = []
        self._held: list[str] = []
        self._stray: list[str] = []

    @property
    def in_value(self) -> bool:
        """Whether all tags but `</arg_value>` are text now."""
        return self._part is _Part.VALUE

    def push(self, piece: str) -> list[Event]:
        """The events that a piece brings."""
        match self._part:
            case _Part.NAME:
                return self._take_in_name(piece)
            case _Part.BETWEEN_ARGUMENTS:
                return self._take_between(piece)
            case _Part.KEY:
                return self._take_in_key(piece)
            case _Part.AFTER_KEY:
                return self._take_after_key(piece)
            case _Part.VALUE:
                return self._take_in_value(piece)
            case _Part.AFTER_VALUE:
                return self._take_after_value(piece)

    def end(self, cause: str) -> list[Event]:
        """End an unfinished call. cause: what ends it, such as "the output ended"."""
        events: list[Event] = []
        place = "before </tool_call>"
        match self._part:
            case _Part.NAME:
                place = "inside the tool's name"
                events += self._begin()
            case _Part.KEY:
                place = f"inside the argument's name {_quoted(''.join(self._text).strip())}"
            case _Part.AFTER_KEY:
                place = f"before the value of {_quoted(self._key)}"
            case _Part.VALUE:
                place = f"inside the value of {_quoted(self._key)}"
                events += self._close_value()
            case _Part.AFTER_VALUE:
                events += self._close_value()
        self._problems.insert(0, f"{cause} {place}")
        return events + self._finish()

    def _take_in_name(self, piece: str) -> list[Event]:
        if piece in CALL_TAGS:
            return self._begin() + self._take_between(piece)
        if not self._text:
            piece = piece.lstrip()
        name, line_break, rest = piece.partition("\n")
        self._text += [name] if name else []
        if not line_break:
            return []
        return self._begin() + (self._take_between(rest) if rest else [])

    def _take_between(self, piece: str) -> list[Event]:
        if piece == ARG_KEY:
            self._open_key()
        elif piece == END_TOOL_CALL:
            self.closed = True
            return self._finish()
        else:
            self._take_stray(piece)
        return []

    def _take_in_key(self, piece: str) -> list[Event]:
        if piece not in (END_ARG_KEY, ARG_VALUE, ARG_KEY, END_TOOL_CALL):
            self._text.append(piece)
            return []
        self._key = "".join(self._text).strip()
        self._part = _Part.AFTER_KEY
        if not self._key:
            self._problems.append("an argument has no name")
        if piece == END_ARG_KEY:
            return []
        self._problems.append(f"</arg_key> is missing after {_quoted(self._key)}")
        return self._take_after_key(piece)

    def _take_after_key(self, piece: str) -> list[Event]:
        if piece == ARG_VALUE:
            return self._open_value()
        if piece in (ARG_KEY, END_TOOL_CALL):
            self._problems.append(f"the argument {_quoted(self._key)} has no value")
            return self._take_between(piece)
        self._take_stray(piece)
        return []

    def _take_in_value(self, piece: str) -> list[Event]:
        if piece != END_ARG_VALUE:
            return self._extend_value(piece)
        self._part = _Part.AFTER_VALUE
        self._held = [piece]
        return []

    def _take_after_value(self, piece: str) -> list[Event]:
        if piece in (ARG_KEY, END_TOOL_CALL):
            return self._close_value() + self._take_between(piece)
        if piece.isspace():
            self._held.append(piece)
            return []
        self._part = _Part.VALUE
        return self._extend_value("".join(self._held)) + self._take_in_value(piece)

    def _take_stray(self, piece: str) -> None:
        """Note text between the tags. A tag that closes nothing is left out: nothing is lost with it."""
        if piece not in (END_ARG_KEY, END_ARG_VALUE):
            self._stray.append(piece)

    def _begin(self) -> list[Event]:
        self._name = "".join(self._text).strip()
        self._part = _Part.BETWEEN_ARGUMENTS
        if not self._name:
            self._problems.append("the call has no name")
        elif not NAME.fullmatch(self._name):
            self._problems.append(f"{_quoted(self._name)} is not the name of a tool")
        return [ToolCallBegin(self._index, self._name)]

    def _open_key(self) -> None:
        self._part = _Part.KEY
        self._text = []
        self._stray.append(" ")

    def _open_value(self) -> list[Event]:
        """Begin a value. Where a name comes twice the first value stands: it may have gone out already."""
        self._part = _Part.VALUE
        self._text = []
        self._type = self._types.of(self._name, self._key)
        self._is_repeated = self._key in self._arguments
        if self._is_repeated:
            self._problems.append(f"the argument {_quoted(self._key)} comes twice, the first value stands")
        before = ", " if self._arguments else "{"
        return self._emit(f"{before}{_json(self._key)}: " + ('"' if self._type.is_string else ""))

    def _extend_value(self, text: str) -> list[Event]:
        self._text.append(text)
        return self._emit(_json(text)[1:-1]) if self._type.is_string else []

    def _close_value(self) -> list[Event]:
        self._part = _Part.BETWEEN_ARGUMENTS
        value = self._type.value("".join(self._text))
        self._arguments.setdefault(self._key, value)
        return self._emit('"' if self._type.is_string else _json(value))

    def _emit(self, text: str) -> list[Event]:
        return [] if self._is_repeated else [ToolCallText(self._index, text)]

    def _finish(self) -> list[Event]:
        stray = " ".join("".join(self._stray).split())
        if stray:
            self._problems.append(f"text between the tags: {_quoted(stray)}")
        problem = "; ".join(self._problems[:_SHOWN_PROBLEMS]) or None
        return [
            ToolCallText(self._index, "}" if self._arguments else "{}"),
            ToolCallEnd(self._index, self._name, self._arguments, problem),
        ]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
