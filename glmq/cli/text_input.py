"""Texts that a user gives in files and through standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from ..text_file import UTF_16_MARKS, decoded, decoded_as, read_text_file

STANDARD_INPUT = "standard input"


def read_text(name: str | Path) -> str:
    """The content of a file without a byte order mark; of standard input for the name "-".

    What a shell puts in place of `<(command)` can be read too. A path must be that of a regular file. Raises
    GlmqError for anything else, when it cannot be read and when it is no text.
    """
    return piped_text() if name == "-" else read_text_file(Path(name), or_pipe=isinstance(name, str))


def piped_text() -> str:
    """All of standard input, without a byte order mark. Raises GlmqError when it is no text."""
    return decoded(sys.stdin.buffer.read(), STANDARD_INPUT)


def piped_lines() -> Iterator[str]:
    """Line after line, as they come, without those that are blank. Raises GlmqError when one is no text.

    Of a text in UTF-16 they come when all of it is there.
    """
    for line in _lines_of_text():
        if line.strip():
            yield line.rstrip()


def _lines_of_text() -> Iterator[str]:
    first = sys.stdin.buffer.readline()
    if first.startswith(UTF_16_MARKS):
        yield from decoded(first + sys.stdin.buffer.read(), STANDARD_INPUT).split("\n")
        return
    yield decoded(first, STANDARD_INPUT)
    for line in sys.stdin.buffer:
        yield decoded_as(line, "utf-8", STANDARD_INPUT)
