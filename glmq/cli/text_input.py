"""Texts that a user gives in files and through standard input."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator
from pathlib import Path

from glmq_kernels.errors import UserError

STANDARD_INPUT = "standard input"
_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks that some systems put before a text, and what follows them."""


def read_text(name: str | Path) -> str:
    """The content of a file without a byte order mark; of standard input for the name "-".

    What a shell puts in place of `<(command)` can be read too. A path must be that of a regular file. Raises
    UserError for anything else, when it cannot be read and when it is no text.
    """
    if name == "-":
        return piped_text()
    path = Path(name)
    try:
        is_readable = path.is_file() or (isinstance(name, str) and path.is_fifo())
        if path.exists() and not is_readable:
            raise UserError(f"{path} is not a file")
        return _decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise UserError(f"{str(path)!r} is not a name that a file can have") from None


def piped_text() -> str:
    """All of standard input, without a byte order mark. Raises UserError when it is no text."""
    return _decoded(sys.stdin.buffer.read(), STANDARD_INPUT)


def piped_lines() -> Iterator[str]:
    """Line after line, as they come, without those that are blank. Raises UserError when one is no text."""
    for number, line in enumerate(sys.stdin.buffer):
        text = _decoded(line, STANDARD_INPUT) if number == 0 else _decoded_as(line, "utf-8", STANDARD_INPUT)
        if text.strip():
            yield text.rstrip()


def _decoded(data: bytes, name: str) -> str:
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            return _decoded_as(data[len(mark) :], encoding, name)
    return _decoded_as(data, "utf-8", name)


def _decoded_as(data: bytes, encoding: str, name: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        raise UserError(f"{name} is no text in UTF-8; the model reads text only") from None
