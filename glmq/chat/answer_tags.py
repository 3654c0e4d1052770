"""The tags that structure what GLM models write, and text cut at them as it streams."""

from __future__ import annotations

import re
from collections.abc import Iterable

THINK, END_THINK = "<think>", "</think>"
TOOL_CALL, END_TOOL_CALL = "<tool_call>", "</tool_call>"
ARG_KEY, END_ARG_KEY = "<arg_key>", "</arg_key>"
ARG_VALUE, END_ARG_VALUE = "<arg_value>", "</arg_value>"

THINKING_TAGS = frozenset({THINK, END_THINK})
CALL_TAGS = frozenset({TOOL_CALL, END_TOOL_CALL, ARG_KEY, END_ARG_KEY, ARG_VALUE, END_ARG_VALUE})
TAGS = THINKING_TAGS | CALL_TAGS


class TagSplitter:
    """Cuts text into tags and what is between them, and holds what may be a tag's beginning."""

    def __init__(self, tags: Iterable[str]) -> None:
        tags = sorted(tags)
        self._any_tag = re.compile("(" + "|".join(map(re.escape, tags)) + ")")
        self._beginnings = frozenset(tag[:n] for tag in tags for n in range(1, len(tag)))
        self._longest_beginning = max(map(len, self._beginnings))
        self._held = ""

    def push(self, text: str) -> list[str]:
        """Tags, each whole, and texts between them; none is empty."""
        text = self._held + text
        start = text.rfind("<", max(0, len(text) - self._longest_beginning))
        end = start if start >= 0 and text[start:] in self._beginnings else len(text)
        self._held = text[end:]
        return [piece for piece in self._any_tag.split(text[:end]) if piece]

    def flush(self) -> list[str]:
        """The beginning of a tag that never came."""
        held, self._held = self._held, ""
        return [held] if held else []
