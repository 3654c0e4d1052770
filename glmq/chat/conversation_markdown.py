"""A conversation as Markdown: a heading for each message, thinking folded, tool calls as JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from .messages import reasoning_of, text_of

_HEADINGS = {
    "system": "System",
    "developer": "System",
    "user": "User",
    "assistant": "Assistant",
    "tool": "Tool result",
}
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")
_HTML_BLOCK = re.compile(
    r"<(?=/?(?:details|summary|script|style|pre|textarea)\b|!--|!\[CDATA|\?)", re.IGNORECASE
)


def conversation_markdown(messages: Sequence[Mapping[str, Any]], title: str = "Conversation") -> str:
    """Messages as a Markdown document. What they hold keeps to its place: nothing in it swallows the next."""
    parts = [f"# {title}"]
    for message in messages:
        name = f": {message['name']}" if message["role"] == "tool" and message.get("name") else ""
        parts.append(f"## {_HEADINGS[message['role']]}{name}")
        if thoughts := reasoning_of(message).strip():
            parts.append(f"<details>\n<summary>Thinking</summary>\n\n{_contained(thoughts)}\n\n</details>")
        if text := text_of(message).strip("\n"):
            parts.append(_fenced(text, "") if message["role"] == "tool" else _contained(text))
        parts += [_call(call.get("function", call)) for call in message.get("tool_calls") or ()]
    return "\n\n".join(parts) + "\n"


def _call(function: Mapping[str, Any]) -> str:
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments or {}, ensure_ascii=False, indent=2)
    return f"Calls `{function['name']}`:\n\n{_fenced(arguments, 'json')}"


def _fenced(text: str, language: str) -> str:
    """Text in a fence that is longer than any in it."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _contained(text: str) -> str:
    """Markdown whose open fence is closed and whose tags that would hold or end a block are plain text.

    The rules of fences are CommonMark's (https://spec.commonmark.org/0.31.2/#fenced-code-blocks).
    """
    lines = []
    fence = ""
    for line in text.split("\n"):
        found = _FENCE.fullmatch(line)
        if fence:
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = ""
        elif found and not (found[1][0] == "`" and "`" in found[2]):
            fence = found[1]
        else:
            line = _HTML_BLOCK.sub("&lt;", line)
        lines.append(line)
    return "\n".join([*lines, fence] if fence else lines)
