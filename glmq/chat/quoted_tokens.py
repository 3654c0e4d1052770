"""Names of tokens in what people, files and tools say: text like any other, never the tokens.

A web page that a tool brings could hold "<|user|>" and speak as the user, or "</think>" and end the model's
thinking. So a mark is put into such names before a template sees the messages, which then takes none of them
for its own, and taken out again once the prompt has been cut at its real tokens.

Two kinds of names keep their meaning. A switch such as "/nothink" that a user types as the first or last
word is that token. Tags in what the model has said are the tokens that it wrote, where a session still holds
these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..tokenizer import ANSWER_TAGS, Tokenizer
from .messages import Message

MARK = "\ufdd0"
"""A code point that is no character and means nothing outside of a program (Unicode 16, section 23.7)."""

SAID_MARK = "\ufdd1"
"""Its neighbour, for tags in what the model has said."""

SWITCHES = ("/nothink", "/think")
"""Special tokens of some files that a user is to type."""

_EITHER = "|".join(SWITCHES)
_TYPED_SWITCH = re.compile(rf"\A\s*(?:{_EITHER})(?!\S)|(?:{_EITHER})\s*\Z")
_MARKS = re.compile(f"[{MARK}{SAID_MARK}]")


class QuotedNames:
    """Quotes the names of a file's tokens: special ones, tags of answers, and those that its template writes.

    template: the source of the chat template.
    """

    def __init__(self, tokenizer: Tokenizer, template: str = "") -> None:
        special = {tokenizer.token_text(token) for token in tokenizer.special_ids}
        others = {tokenizer.token_text(token) for token in tokenizer.whole_ids} - special
        written = {name for name in others if name in template and not any(map(str.isspace, name))}
        names = {*special, *written, *ANSWER_TAGS, *SWITCHES}
        longest_first = sorted((name for name in names if len(name) > 1), key=lambda name: (-len(name), name))
        self._names = re.compile("|".join(map(re.escape, longest_first)))
        self._said = {*written, *ANSWER_TAGS} - {*SWITCHES}

    def quoted(self, value: Any) -> Any:
        """A copy of data from elsewhere, such as definitions of tools, with the mark in every name."""
        return _mapped(value, self._quoted)

    def quoted_messages(self, messages: Iterable[Message]) -> list[Message]:
        """Copies of messages whose contents are texts (`template_messages.py`), with marks."""
        return [self._quoted_message(message) for message in messages]

    def _quoted_message(self, message: Message) -> Message:
        if message["role"] == "assistant":
            return _mapped_message(message, self._quoted_said, self._quoted)
        if message["role"] == "user" and isinstance(message.get("content"), str):
            return {**self.quoted(message), "content": self._quoted_typed(message["content"])}
        return _mapped_message(message, self._quoted, self._quoted)

    def _quoted(self, text: str) -> str:
        return self._names.sub(lambda name: _marked(name[0], MARK), unquoted(text))

    def _quoted_said(self, text: str) -> str:
        def marked(name: re.Match[str]) -> str:
            return _marked(name[0], SAID_MARK if name[0] in self._said else MARK)

        return self._names.sub(marked, unquoted(text))

    def _quoted_typed(self, text: str) -> str:
        quoted, end = [], 0
        for switch in _TYPED_SWITCH.finditer(text):
            quoted += [self._quoted(text[end : switch.start()]), switch[0]]
            end = switch.end()
        return "".join([*quoted, self._quoted(text[end:])])


def unquoted(text: str) -> str:
    """The text without marks."""
    return _MARKS.sub("", text)


def said_tags(text: str) -> set[int]:
    """Where tags that the model has said begin in a marked text, in bytes of the text without marks."""
    starts: set[int] = set()
    place = end = 0
    for found in re.finditer(SAID_MARK, text):
        begin = found.start() - 1
        place += len(unquoted(text[end:begin]).encode())
        starts.add(place)
        end = begin
    return starts


def _marked(name: str, mark: str) -> str:
    return name[0] + mark + name[1:]


def _mapped_message(
    message: Message, change: Callable[[str], str], change_id: Callable[[str], str]
) -> Message:
    """A message with changed texts. Ids of calls change as in the results, so that they stay equal."""
    copy: Message = _mapped(message, change)
    for changed, call in zip(copy.get("tool_calls") or (), message.get("tool_calls") or (), strict=True):
        if "id" in call:
            changed["id"] = _mapped(call["id"], change_id)
    return copy


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {_mapped(key, change): _mapped(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mapped(item, change) for item in value]
    return value
