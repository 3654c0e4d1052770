"""Names of special tokens in what people, files and tools say: text like any other, never the tokens.

A web page that a tool brings could hold "<|user|>" and speak as the user. So a mark is put into such names
before a template sees the messages, and taken out again once the prompt has been cut at its real tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..tokenizer import ANSWER_TAGS, Tokenizer

MARK = "\ufdd0"
"""A code point that is no character and means nothing outside of a program (Unicode 16, section 23.7)."""

SWITCHES = ("/nothink", "/think")
"""Special tokens of some files that a user is to type."""


def quoted(value: Any, tokenizer: Tokenizer) -> Any:
    """A copy of messages or definitions of tools with the mark in every name of a special token."""
    names = [tokenizer.token_text(token) for token in tokenizer.special_ids]
    names = [name for name in names if len(name) > 1 and name not in (*ANSWER_TAGS, *SWITCHES)]
    if not names:
        return value
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))))
    return _quoted(value, pattern)


def _quoted(value: Any, names: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return names.sub(lambda found: found[0][0] + MARK + found[0][1:], value)
    if isinstance(value, Mapping):
        return {_quoted(key, names): _quoted(item, names) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_quoted(item, names) for item in value]
    return value


def unquoted(text: str) -> str:
    """The text without marks."""
    return text.replace(MARK, "")
