"""Tool calls and their results in single lines, for every view of an answer."""

from __future__ import annotations

import json

from .answer_view import Arguments

LONGEST_VALUE = 60
RESULT_LINES = 3


def call_line(name: str, arguments: Arguments) -> str:
    """A tool call in one line, long values cut."""
    if isinstance(arguments, str):
        return f"{name}({_cut(arguments)})"
    values = (f"{key}={_cut(json.dumps(value, ensure_ascii=False))}" for key, value in arguments.items())
    return f"{name}({', '.join(values)})"


def result_lines(text: str, failed: bool, name: str = "") -> list[str]:
    """The first lines of what a tool gave, and how many more there are. name: where it must be told."""
    lines = text.strip().split("\n") if text.strip() else ["(nothing)"]
    first = lines[:RESULT_LINES]
    if failed:
        first[0] = f"failed: {first[0]}"
    if name:
        first[0] = f"{name}: {first[0]}"
    if n_more := len(lines) - len(first):
        first.append(f"… {n_more} more line{'s' if n_more > 1 else ''}")
    return first


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_VALUE else line[: LONGEST_VALUE - 1] + "…"
