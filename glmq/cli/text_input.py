"""Texts that a user gives in files and through standard input."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from pathlib import Path

from glmq_kernels.errors import GlmqError

STANDARD_INPUT = "standard input"
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks that some systems put before a text, and what follows them."""
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text(name: str | Path) -> str:
    """The content of a file without a byte order mark; of standard input for the name "-".

    What a shell puts in place of `<(command)` can be read too. A path must be that of a regular file. Raises
    GlmqError for anything else, when it cannot be read and when it is no text.
    """
    if name == "-":
        return piped_text()
    path = Path(name)
    try:
        is_readable = path.is_file() or (isinstance(name, str) and path.is_fifo())
        if path.exists() and not is_readable:
            raise GlmqError(f"{path} is not a file")
        return _decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise GlmqError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise GlmqError(f"{str(path)!r} is not a name that a file can have") from None


def piped_text() -> str:
    """All of standard input, without a byte order mark. Raises GlmqError when it is no text."""
    return _decoded(sys.stdin.buffer.read(), STANDARD_INPUT)


def piped_lines() -> Iterator[str]:
    """Line after line, as they come, without those that are blank. Raises GlmqError when one is no text.

    Of a text in UTF-16 they come when all of it is there.
    """
    for line in _lines_of_text():
        if line.strip():
            yield line.rstrip()


def _lines_of_text() -> Iterator[str]:
    first = sys.stdin.buffer.readline()
    if first.startswith(_UTF_16):
        yield from _decoded(first + sys.stdin.buffer.read(), STANDARD_INPUT).split("\n")
        return
    yield _decoded(first, STANDARD_INPUT)
    for line in sys.stdin.buffer:
        yield _decoded_as(line, "utf-8", STANDARD_INPUT)


def _decoded(data: bytes, name: str) -> str:
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            return _decoded_as(data[len(mark) :], encoding, name)
    return _decoded_as(data, "utf-8", name)


def _decoded_as(data: bytes, encoding: str, name: str) -> str:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # in no text, but in most data, and in UTF-16 that has no mark
        raise GlmqError(f"{name} is no text in UTF-8; the model reads text only")
    return text
