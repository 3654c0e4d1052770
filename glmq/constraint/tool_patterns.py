"""JSON schema's patterns as terminals of Lark."""

from __future__ import annotations

import re


def search(pattern: str) -> str:
    """A regular expression that matches where JSON schema's `pattern` finds something."""
    from llguidance import regex_to_lark

    found = []
    for part in alternatives(pattern):
        before = after = "(?s:.*)"
        if part.startswith("^"):
            before, part = "", part[1:]
        if re.search(r"(?<!\\)(\\\\)*\$$", part):
            after, part = "", part[:-1]
        found.append(f"{before}(?:{regex_to_lark(part, 'dw')}){after}")
    return f"/{'|'.join(found)}/"


def alternatives(pattern: str) -> list[str]:
    """The parts between the `|` of a regular expression that are outside of all groups and classes."""
    found, depth = [""], 0
    for piece in re.findall(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|.", pattern, re.DOTALL):
        depth += (piece == "(") - (piece == ")")
        if piece == "|" and depth == 0:
            found.append("")
        else:
            found[-1] += piece
    return found
