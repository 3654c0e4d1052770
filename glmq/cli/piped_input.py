"""What comes through standard input where it is no terminal: one message, or one in each line."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator

from glmq_kernels.errors import UserError

_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks that some systems put before a text, and what follows them."""


def piped_text() -> str:
    """All of it, without a byte order mark. Raises UserError when it is no text."""
    return _decoded(sys.stdin.buffer.read())


def piped_lines() -> Iterator[str]:
    """Line after line, as they come, without those that are blank. Raises UserError when one is no text."""
    for number, line in enumerate(sys.stdin.buffer):
        text = _decoded(line) if number == 0 else _decoded_as(line, "utf-8")
        if text.strip():
            yield text.rstrip()


def _decoded(data: bytes) -> str:
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            return _decoded_as(data[len(mark) :], encoding)
    return _decoded_as(data, "utf-8")


def _decoded_as(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise UserError("standard input is no text in UTF-8; the model reads text only") from None
