"""What follows `<tool_call>`: a call of a tool, or text in which somebody writes about calls.

A call begins where the name of an offered tool follows and behind it a tag that can follow a name, or where a
JSON object names the tool. Models leave tags out or write them twice now and then; where only one reading is
possible, that is taken.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from types import NoneType
from typing import Any

from .answer_tags import (
    ARG_KEY,
    ARG_VALUE,
    END_ARG_KEY,
    END_ARG_VALUE,
    END_THINK,
    END_TOOL_CALL,
    TAGS,
    TOOL_CALL,
)
from .offered_tools import OfferedTools
from .piece_reader import PieceReader, Reading

NAME = re.compile(r"[\w.:/-]+")
"""Names of tools: OpenAI's characters and those that MCP servers use."""

_LONGEST_NAME = 200
_LONGEST_TEXT = 2000
"""Characters behind `<tool_call>` that may still belong to a malformed call's beginning."""
_MOST_TAGS = 4
"""Of `<tool_call>`, one behind the other, that count as one."""

_JSON_BEGINNING = re.compile(r"(?:```\w*\s*)?\{\s*[\"}]")
_BEFORE_JSON = re.compile(r"`{1,3}|```\w*\s*(?:\{\s*)?|\{\s*")
_FENCES = re.compile(r"^\s*```\w*\s*|\s*```\s*$")
_CLEANED = re.compile(r"([\"'`]?)(.*?)\1(?:\(\)|:)?", re.DOTALL)
_NAME_KEYS = ("name", "tool_name", "tool", "function")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input")


@dataclass(frozen=True)
class Beginning:
    """A call has begun.

    is_offered: whether there is such a tool. in_lines: whether a line break follows the name, as GLM-4.5
    and 4.6 write it. is_bare: whether the name is all there is, without arguments. arguments: all of them,
    where the call is a JSON object; is_cut: whether the output's end ended that. problem: what is wrong with
    the call already.
    """

    name: str
    is_offered: bool = True
    in_lines: bool = False
    is_bare: bool = False
    arguments: dict[str, Any] | None = None
    is_cut: bool = False
    problem: str | None = None


class CallHeader(PieceReader):
    """Takes the pieces behind `<tool_call>` until it is over.

    beginning: of the call then, whose other pieces are the leftover; None when the pieces are text.
    looks_far: whether a `<tool_call>` inside JSON may be text of it.
    """

    def __init__(self, tools: OfferedTools, *, looks_far: bool = True) -> None:
        self.beginning: Beginning | None = None
        self._tools = tools
        self._looks_far = looks_far
        super().__init__()

    def push(self, piece: str) -> None:
        """Go on with a piece."""
        self._feed(piece)

    def end(self) -> None:
        """Decide, as the output has ended."""
        self._feed(None)

    def _read(self) -> Reading[None]:
        text = ""
        n_tags = 1
        while True:
            piece = yield from self._next()
            if piece is None:
                return self._take_end(text)
            if piece == TOOL_CALL and not text.strip() and n_tags < _MOST_TAGS:
                n_tags += 1
                text = ""
            elif piece in TAGS:
                return (yield from self._take_tag(text, piece))
            else:
                text += piece
                name, rest = self._named(text.lstrip())
                if _JSON_BEGINNING.match(text.strip()):
                    return (yield from self._read_json("", text))
                if name in self._tools.names and _JSON_BEGINNING.match(rest.strip()):
                    return (yield from self._read_json(name, rest))
                if not self._may_go_on(text):
                    return None

    def _named(self, text: str) -> tuple[str, str]:
        """The name that a text begins with, one of an offered tool if it can be, and what follows it."""
        for name in self._tools.names:
            if text.startswith(name) and not NAME.match(text[len(name) : len(name) + 1]):
                return name, text[len(name) :]
        found = NAME.match(text)
        return (found[0], text[found.end() :]) if found else ("", text)

    def _may_go_on(self, text: str) -> bool:
        """Whether a text that came so far may be a call's beginning."""
        if len(text) > _LONGEST_TEXT:
            return False
        space = len(text) - len(text.lstrip())
        text = text[space:]
        if not text or any(name.startswith(text.rstrip()) for name in self._tools.names):
            return space <= _LONGEST_NAME
        if _BEFORE_JSON.fullmatch(text):
            return True
        name, rest = self._named(text)
        if name and not rest.strip():
            return len(text) <= _LONGEST_NAME
        if not name:
            cleaned = text.lstrip("\"'`")
            return len(cleaned) <= _LONGEST_NAME and (not cleaned or self._is_in_quotes(cleaned))
        if name not in self._tools.names:
            return False
        key = rest.strip()
        is_key = any(parameter.startswith(key) for parameter in self._tools.parameters(name))
        is_line = "\n" in rest[: len(rest) - len(rest.lstrip())]
        is_sign = key in ("(", "()", ":")
        before_json = _BEFORE_JSON.fullmatch(key) is not None
        return is_key or is_sign or before_json or is_line

    def _is_in_quotes(self, text: str) -> bool:
        name, rest = self._named(text)
        return bool(name) and rest.strip() in ("", '"', "'", "`")

    def _take_tag(self, text: str, tag: str) -> Reading[None]:
        cleaned = _cleaned(text)
        name, rest = (cleaned, "") if cleaned in self._tools.names else self._named(text.strip())
        is_offered = name in self._tools.names
        if is_offered and not rest:
            yield from self._take_name(name, text, tag)
        elif tag == END_ARG_KEY and (glued := self._glued(text.strip())):
            self._begin(glued[0], text, ARG_KEY, glued[1], END_ARG_KEY)
        elif is_offered and "\n" in rest[: len(rest) - len(rest.lstrip())]:
            if tag in (ARG_KEY, END_TOOL_CALL):
                self._begin(name, text, rest, tag)
        elif NAME.fullmatch(cleaned) and tag in (ARG_KEY, END_TOOL_CALL):
            self._begin(cleaned, text, tag)
        elif not cleaned and tag == ARG_KEY:
            self._begin("", text, tag)

    def _take_name(self, name: str, text: str, tag: str) -> Reading[None]:
        """A tag behind the name of an offered tool."""
        if tag == ARG_KEY:
            key, next_tag = yield from self._first_key()
            if self._is_key(name, key.strip(), next_tag):
                self._begin(name, text, tag, key, next_tag)
        elif tag in (END_TOOL_CALL, ARG_VALUE, END_ARG_KEY, END_ARG_VALUE, END_THINK):
            self._begin(name, text, tag)
        elif tag == TOOL_CALL:  # in place of <arg_key>, or another call
            key, next_tag = yield from self._until(TAGS)
            in_place = next_tag == END_ARG_KEY and key.strip() in self._tools.parameters(name)
            self._begin(name, text, ARG_KEY if in_place else TOOL_CALL, key, next_tag)

    def _first_key(self) -> Reading[tuple[str, str | None]]:
        """The text behind `<arg_key>`, as far as it can be a parameter's name, and the tag behind it."""
        text = ""
        while len(text) <= _LONGEST_NAME:
            piece = yield from self._next()
            if piece is None or (piece in TAGS and (piece != ARG_KEY or text.strip())):
                return text, piece
            text += "" if piece == ARG_KEY else piece
        return text, TOOL_CALL

    def _is_key(self, tool: str, key: str, tag: str | None) -> bool:
        """Whether a text behind `<arg_key>`, and the tag behind it, can be an argument's beginning."""
        if tag in (END_ARG_KEY, ARG_VALUE, END_ARG_VALUE):
            return True
        parameters = self._tools.parameters(tool)
        if tag is None:
            return any(parameter.startswith(key) for parameter in parameters) or not parameters
        return key in parameters

    def _glued(self, text: str) -> tuple[str, str] | None:
        """The tool and the parameter whose names a text consists of."""
        for name in self._tools.names:
            key = text.removeprefix(name).strip()
            if text.startswith(name) and key in self._tools.parameters(name):
                return name, key
        return None

    def _take_end(self, text: str) -> None:
        cleaned = _cleaned(text)
        if cleaned in self._tools.names:
            self._begin(cleaned, text)
        elif cleaned and any(name.startswith(cleaned) for name in self._tools.names):
            problem = "the output ended inside the tool's name"
            self.beginning = Beginning(cleaned, False, arguments={}, problem=problem)

    def _begin(self, name: str, text: str, *rest: str | None) -> None:
        in_lines = "\n" in text[len(text.rstrip()) :] or "\n" in (rest[0] or "" if rest else "")
        is_bare = not rest or rest[0] in (END_TOOL_CALL, None)
        problem = self._tools.problem(name)
        self.beginning = Beginning(name, problem is None, in_lines, is_bare, problem=problem)
        self._unread(*(piece for piece in rest if piece != ""))

    def _read_json(self, name: str, text: str) -> Reading[None]:
        """A call as a JSON object, or the arguments of a named one. Tags in its strings are text."""
        parts = [text]
        ends: list[int] = []
        n_read = 0
        value, error = None, ""
        while True:
            piece = yield from self._next()
            if piece == END_TOOL_CALL or piece is None or (piece == TOOL_CALL and not self._looks_far):
                if any('"' in part for part in parts[n_read:]):  # else the same string is still open
                    value, error = _json_value("".join(parts))
                n_read = len(parts)
                if piece != END_TOOL_CALL or not error.startswith("Unterminated string"):
                    break
                ends.append(len(parts))
            parts.append(piece)
        if piece == TOOL_CALL:
            self._unread(piece)
        is_cut = piece is None
        if error and ends:  # so that one broken call takes nothing of what follows it
            self._unread(*parts[ends[0] + 1 :], None if piece == TOOL_CALL else piece)
            del parts[ends[0] :]
            is_cut = False
        if not error:
            self.beginning = self._json_call(name, value, is_cut)
        elif named := name or self._mentioned("".join(parts)):
            self.beginning = Beginning(named, arguments={}, problem=f"its JSON cannot be read: {error}")

    def _mentioned(self, text: str) -> str:
        return next(
            (
                name
                for name in self._tools.names
                if re.search(rf'"\s*:\s*{re.escape(json.dumps(name))}', text)
            ),
            "",
        )

    def _json_call(self, name: str, value: Any, is_cut: bool) -> Beginning | None:
        if not isinstance(value, dict):
            return None
        if isinstance(value.get("function"), dict):
            value = value["function"]
        called = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), None)
        key = next((key for key in _ARGUMENT_KEYS if key in value), None)
        if name and (called != name or key is None):
            arguments: Any = value
        else:
            name = name or called or ""
            arguments = value[key] if key is not None else {}
        if not name:
            return None
        if isinstance(arguments, str):
            arguments = _json_value(arguments)[0]
        unknown = self._tools.problem(name)
        is_object = isinstance(arguments, (dict, NoneType))
        problem = unknown or (None if is_object else "its arguments are no object")
        arguments = arguments if isinstance(arguments, dict) else {}
        return Beginning(name, unknown is None, False, not arguments, arguments, is_cut, problem)


def _json_value(text: str) -> tuple[Any, str]:
    """What a text is as JSON, be there a fence around it; and what keeps it from being that, or nothing."""
    try:
        return json.loads(_FENCES.sub("", text), strict=False), ""
    except RecursionError:
        return text, "it is nested too deeply"
    except ValueError as error:
        return text, str(error)


def _cleaned(text: str) -> str:
    """A name without the white space, quotes and empty brackets around it."""
    found = _CLEANED.fullmatch(text.strip())
    return found[2].strip() if found else ""


def is_header(text: str, tag: str | None) -> bool:
    """Whether text behind `<tool_call>` and the tag after it have the form of a call's beginning."""
    return tag in (ARG_KEY, END_TOOL_CALL) and NAME.fullmatch(text.strip()) is not None
