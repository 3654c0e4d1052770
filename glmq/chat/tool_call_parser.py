"""One tool call: from its text behind the tool's name to events.

GLM-4.5 and 4.6 put a line break after the name and after each tag, 4.7 puts nothing between them:

    <tool_call>name<arg_key>key</arg_key><arg_value>value</arg_value></tool_call>

White space between the tags means nothing, so one reading serves both.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from .answer_tags import (
    ARG_KEY,
    ARG_VALUE,
    CALL_TAGS,
    END_ARG_KEY,
    END_ARG_VALUE,
    END_THINK,
    END_TOOL_CALL,
    TOOL_CALL,
)
from .argument_types import ArgumentType
from .call_header import Beginning, is_header
from .events import Event, ToolCallBegin, ToolCallEnd, ToolCallText
from .offered_tools import OfferedTools
from .piece_reader import PieceReader, Reading

_SHOWN = 60
"""Characters of a text that a problem quotes."""
_SHOWN_PROBLEMS = 3
_LONGEST_SPACE = 200
"""Characters of a parameter's name with the white space around it."""

_ENDS_VALUE = (ARG_KEY, END_TOOL_CALL, TOOL_CALL, None)
"""What follows `</arg_value>` where it ends a value; None is the output's end."""


class ToolCallParser(PieceReader):
    """Takes the pieces of one call: tags, each whole, and the text between them, in pieces of any size.

    It is over with `</tool_call>`, or where another call begins. What is missing or there twice is repaired
    where only one reading is possible, else the call has a problem:

    - `</arg_value>` ends a value where `<arg_key>`, `</tool_call>`, `<tool_call>` or the end follows,
      behind white space or none; elsewhere it is part of the value, as are all other tags.
    - It is missing where a parameter that is declared and not given yet begins inside a value, and where
      `</tool_call>` or another call stands inside a value that nothing ends later.
    - `<arg_key>`, `</arg_key>` or `<arg_value>` is missing where the other tag of the pair is there.
    - Where an argument comes twice, the first value stands and the call has a problem.

    looks_far: whether what ends a value is looked for up to the output's end. Else the first `</tool_call>`
    and the first call inside a value end it.
    """

    def __init__(
        self, index: int, beginning: Beginning, tools: OfferedTools, *, looks_far: bool = True
    ) -> None:
        self._looks_far = looks_far
        self._index, self._beginning, self._tools = index, beginning, tools
        self._name = beginning.name
        self._declared = tools.parameters(beginning.name)
        self._waits = tools.has_variants(beginning.name)
        self._ended_by_model = False
        self._texts: dict[str, str] = {}
        self._arguments: dict[str, Any] = {}
        self._problems = [beginning.problem] if beginning.problem else []
        self._stray: list[str] = []
        self._key = ""
        self._type = ArgumentType()
        self._is_repeated = False
        self._value: list[str] = []
        self._held_break = ""
        self._holds_argument = False
        self._events: list[Event] = []
        self._is_finished = False
        super().__init__()

    def begin(self) -> list[Event]:
        """The events that are certain from the call's beginning."""
        return self._taken()

    def push(self, piece: str) -> list[Event]:
        """The events that a piece brings."""
        self._feed(piece)
        return self._taken()

    def end(self, ended_by_model: bool) -> list[Event]:
        """End an unfinished call, as the output has ended, by the model's will or in the middle of it."""
        self._ended_by_model = ended_by_model
        self._feed(None)
        return self._taken()

    def _taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _read(self) -> Reading[None]:
        self._events.append(ToolCallBegin(self._index, self._name))
        is_in_name = not self._beginning.in_lines
        while not self._is_finished:
            text, tag = yield from self._until(CALL_TAGS)
            place = "inside the tool's name" if is_in_name and not text.strip() else "before </tool_call>"
            is_in_name = False
            if tag == END_ARG_KEY and text.strip():
                yield from self._read_after_key(text.strip())
            elif tag == ARG_VALUE and self._is_open(text.strip()):
                yield from self._read_value(text.strip())
            else:
                self._stray.append(text + (ARG_VALUE if tag == ARG_VALUE else ""))
                if tag == ARG_KEY:
                    yield from self._read_key()
                elif tag in (END_TOOL_CALL, TOOL_CALL, None):
                    self._finish_at(tag, "" if tag is None and self._ended_by_model else place)

    def _finish_at(self, tag: str | None, place: str) -> None:
        """Finish at what ends the call; without its own end it has a problem."""
        if tag == TOOL_CALL:
            self._unread(tag)
            self._problems.insert(0, f"another call began {place}")
        elif tag is None and place:
            self._problems.insert(0, f"the output ended {place}")
        self._finish()

    def _is_open(self, key: str) -> bool:
        """Whether this is a declared parameter that has no value yet."""
        return key in self._declared and key not in self._texts

    def _read_key(self) -> Reading[None]:
        """An argument's name, behind `<arg_key>`."""
        self._stray.append(" ")
        text, tag = yield from self._until(CALL_TAGS)
        while (tag == ARG_KEY and not text.strip()) or (
            tag == END_ARG_VALUE and not self._is_open(text.strip())
        ):
            more, next_tag = yield from self._until(CALL_TAGS)
            text, tag = (text if tag == ARG_KEY else text + tag) + more, next_tag
        key = text.strip()
        if tag in (TOOL_CALL, None):
            return self._finish_at(tag, f"inside the argument's name {_quoted(key)}")
        if not key:
            self._problems.append("an argument has no name")
        if tag in (END_ARG_KEY, END_ARG_VALUE):
            return (yield from self._read_after_key(key))
        if tag != ARG_VALUE or not self._is_open(key):
            self._problems.append(f"</arg_key> is missing after {_quoted(key)}")
        self._unread(tag)
        return (yield from self._read_after_key(key))

    def _read_after_key(self, key: str) -> Reading[None]:
        """What is between an argument's name and its value."""
        while True:
            text, tag = yield from self._until(CALL_TAGS)
            if tag == END_ARG_VALUE and text.strip():
                self._unread(text.removeprefix("\n"), tag)
                return (yield from self._read_value(key))
            self._stray.append(text)
            if tag == ARG_VALUE:
                return (yield from self._read_value(key))
            if tag in (TOOL_CALL, None):
                return self._finish_at(tag, f"before the value of {_quoted(key)}")
            if tag in (ARG_KEY, END_TOOL_CALL):
                self._problems.append(f"the argument {_quoted(key)} has no value")
                return self._unread(tag)

    def _read_value(self, key: str) -> Reading[None]:
        self._open_value(key)
        is_after_key = False
        while True:
            piece = yield from self._next()
            if piece is None:
                self._close_value()
                return self._finish_at(None, f"inside the value of {_quoted(key)}")
            if piece == END_ARG_VALUE:
                if (yield from self._value_ends()):
                    return self._close_value()
                self._holds_argument = False
            elif piece == ARG_KEY:
                if (yield from self._next_argument_begins()):
                    return self._close_value(is_repaired=True)
            elif piece in (TOOL_CALL, END_TOOL_CALL):
                if (yield from self._read_doubtful(piece)):
                    return None
            else:
                self._holds_argument |= piece == ARG_VALUE and is_after_key
                self._extend_value(piece)
            is_after_key = piece == END_ARG_KEY or (is_after_key and piece.isspace())

    def _value_ends(self) -> Reading[bool]:
        """Whether `</arg_value>` ends the value; else it is taken as a part of it."""
        space, follower = yield from self._skip_space()
        if follower in _ENDS_VALUE:
            self._unread(follower)
            return True
        text = ""
        while follower is not None and follower not in CALL_TAGS and self._may_be_key(text + follower):
            text += follower
            follower = yield from self._next()
        is_key = follower == END_ARG_KEY and self._is_open(text.strip()) and text.strip() != self._key
        if is_key:
            after, behind = yield from self._skip_space()
            is_key = behind == ARG_VALUE
            self._unread(*after, behind)
        self._unread(*([text] if text else []), follower)
        if not is_key:
            self._extend_value(END_ARG_VALUE, *space)
        return is_key

    def _may_be_key(self, text: str) -> bool:
        """Whether a text may be the name of a parameter, behind which `</arg_key>` follows."""
        return len(text) < _LONGEST_SPACE and any(key.startswith(text.strip()) for key in self._declared)

    def _next_argument_begins(self) -> Reading[bool]:
        """Whether `<arg_key>` inside a value begins the next argument; what was read is put back then.

        It does where a declared parameter that has no value follows, whose value is not quoted: the next
        `</arg_value>` ends it, and not also text of a value that goes on.
        """
        name, tag = yield from self._until(CALL_TAGS)
        space, follower = (yield from self._skip_space()) if tag == END_ARG_KEY else ([], tag)
        is_open = self._is_open(name.strip()) and name.strip() != self._key
        if tag != END_ARG_KEY or follower != ARG_VALUE:
            self._holds_argument |= is_open and tag in (END_ARG_KEY, ARG_VALUE)
            self._extend_value(ARG_KEY, name, *([END_ARG_KEY] if tag == END_ARG_KEY else []), *space)
            self._unread(follower)
            return False
        if not is_open:
            self._holds_argument = True
            self._extend_value(ARG_KEY, name, END_ARG_KEY, *space, ARG_VALUE)
            return False
        value, end = yield from self._until({END_ARG_VALUE, END_TOOL_CALL, ARG_KEY, TOOL_CALL})
        after, next_piece = (yield from self._skip_space()) if end == END_ARG_VALUE else ([], None)
        pieces = [ARG_KEY, name, END_ARG_KEY, *space, ARG_VALUE, value]
        is_quoted = end == END_ARG_VALUE and next_piece not in _ENDS_VALUE
        if is_quoted:
            self._extend_value(*pieces, END_ARG_VALUE, *after)
            self._unread(next_piece)
        else:
            rest = [end, *after, next_piece] if end == END_ARG_VALUE else [end]
            self._unread(*(piece for piece in (*pieces, *rest) if piece != ""))
        return not is_quoted

    def _read_doubtful(self, piece: str | None) -> Reading[bool]:
        """Read on from `</tool_call>` or `<tool_call>` inside a value; gives whether the value is over.

        Both are text when `</arg_value>` ends the value later, one that does not belong to a call that the
        value quotes. When nothing does, the value ended where the first of them stands. What was read behind
        that is put back.
        """
        held: list[str] = []
        end = next_call = None
        quoted = _QuotedCall()
        while piece is not None:
            if piece == END_ARG_VALUE and not quoted.is_in_value:
                space, follower = yield from self._skip_space()
                self._unread(follower)
                if follower in _ENDS_VALUE:
                    self._extend_value(*held)
                    self._close_value()
                    return True
                held += [piece, *space]
            elif piece == TOOL_CALL and not quoted.is_open:
                name, tag = yield from self._until(CALL_TAGS)
                self._unread(name, tag)
                if is_header(name, tag):
                    quoted = _QuotedCall(is_open=True)
                    if name.strip() in self._tools.names:
                        is_first = next_call is None
                        next_call = len(held) if next_call is None else next_call
                        if is_first and end is not None and not "".join(held[end + 1 :]).strip():
                            self._unread(piece)
                            break
                held.append(piece)
            else:
                if piece == END_TOOL_CALL and not quoted.is_open and end is None:
                    end = len(held)
                quoted.push(piece)
                held.append(piece)
            if end is None and next_call is None and not quoted.is_open:
                self._extend_value(*held)
                return False
            if not self._looks_far and (end is not None or next_call is not None):
                break
            piece = yield from self._next()
        place = f"inside the value of {_quoted(self._key)}"
        n_taken = end if end is not None else next_call if next_call is not None else len(held)
        self._extend_value(*held[:n_taken])
        self._close_value(is_repaired=end is not None)
        if end is not None:
            self._unread(*held[end + 1 :])
            self._finish()
        elif next_call is not None:
            self._unread(*held[next_call + 1 :])
            self._finish_at(TOOL_CALL, place)
        else:
            self._finish_at(None, place)
        return True

    def _open_value(self, key: str) -> None:
        """Begin a value. Where a name comes twice the first value stands: it may have gone out already."""
        self._key, self._type = key, self._tools.type_of(self._name, key)
        self._value, self._held_break, self._holds_argument = [], "", False
        self._is_repeated = key in self._texts
        if self._is_repeated:
            self._problems.append(f"the argument {_quoted(key)} comes twice, the first value stands")
        before = ", " if self._texts else "{"
        self._emit(f"{before}{_json(key)}: " + ('"' if self._type.is_string else ""))

    def _extend_value(self, *pieces: str) -> None:
        """Take more of a value. A line break may be that before a tag, so it waits for more."""
        text = self._held_break + "".join(pieces)
        self._held_break = "\n" if text.endswith("\n") and self._beginning.in_lines else ""
        text = text.removesuffix(self._held_break)
        if text:
            self._value.append(text)
            if self._type.is_string:
                self._emit(_json(text)[1:-1])

    def _close_value(self, is_repaired: bool = False) -> None:
        """End a value. is_repaired: its own end is missing."""
        if self._held_break and not is_repaired:
            self._value.append(self._held_break)
            if self._type.is_string:
                self._emit(_json(self._held_break)[1:-1])
        text = "".join(self._value)
        if self._type.types is not None and "string" not in self._type.types:
            text = text.removeprefix(ARG_VALUE).removesuffix(END_ARG_VALUE)  # there twice
        if self._holds_argument:
            self._problems.append(
                f"the value of {_quoted(self._key)} holds another argument, or </arg_value> is missing in it"
            )
        if not self._is_repeated:
            self._texts[self._key] = text
            self._arguments[self._key] = self._tools.value(self._name, self._key, text)
        self._emit('"' if self._type.is_string else _json(self._arguments[self._key]))

    def _emit(self, text: str) -> None:
        if not (self._is_repeated or self._waits):
            self._events.append(ToolCallText(self._index, text))

    def _finish(self) -> None:
        self._is_finished = True
        self._is_repeated = False
        stray = " ".join("".join(self._stray).replace(END_THINK, "").split())
        if stray:
            self._problems.append(f"text between the tags: {_quoted(stray)}")
        if self._waits:
            self._arguments = self._tools.arguments(self._name, self._texts)
            self._events.append(ToolCallText(self._index, _json(self._arguments)))
        else:
            self._emit("}" if self._texts else "{}")
        problem = "; ".join(self._problems[:_SHOWN_PROBLEMS]) or None
        self._events.append(ToolCallEnd(self._index, self._name, self._arguments, problem))


@dataclass
class _QuotedCall:
    """Where in a call one is whose pieces stand in a value."""

    is_open: bool = False
    is_in_value: bool = False
    _is_after_key: bool = False

    def push(self, piece: str) -> None:
        """Go on behind a piece."""
        if not self.is_open:
            return
        if piece == END_TOOL_CALL:
            self.is_open = self.is_in_value = self._is_after_key = False
        elif piece in (ARG_VALUE, END_ARG_VALUE):
            self.is_in_value, self._is_after_key = piece == ARG_VALUE, False
        elif not self.is_in_value and piece in (ARG_KEY, END_ARG_KEY):
            self._is_after_key = piece == END_ARG_KEY
        elif self._is_after_key and piece.strip():  # <arg_value> is missing
            self.is_in_value = True


def json_call(index: int, beginning: Beginning, ended_by_model: bool) -> list[Event]:
    """The events of a call that came as a JSON object."""
    arguments = beginning.arguments or {}
    is_cut = beginning.is_cut and not ended_by_model
    problems = ["the output ended before </tool_call>"] if is_cut else []
    problems += [beginning.problem] if beginning.problem else []
    return [
        ToolCallBegin(index, beginning.name),
        ToolCallText(index, _json(arguments)),
        ToolCallEnd(index, beginning.name, arguments, "; ".join(problems) or None),
    ]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")
