"""Text files of users: their encodings, and what is no text."""

from __future__ import annotations

import codecs
from pathlib import Path

from glmq_kernels.errors import GlmqError

_ENCODINGS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte order marks that some systems put before a text, and what follows them."""
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_text_file(path: Path, *, or_pipe: bool = False) -> str:
    """The content of a regular file without a byte order mark.

    or_pipe: it may be a named pipe. Raises GlmqError for anything else, when it cannot be read and when it is
    no text.
    """
    try:
        if path.exists() and not (path.is_file() or (or_pipe and path.is_fifo())):
            raise GlmqError(f"{path} is not a file")
        return decoded(path.read_bytes(), str(path))
    except OSError as error:
        raise GlmqError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError:
        raise GlmqError(f"{str(path)!r} is not a name that a file can have") from None


def decoded(data: bytes, name: str) -> str:
    """Data as text, by its byte order mark. Raises GlmqError, with `name`, when it is no text."""
    for mark, encoding in _ENCODINGS:
        if data.startswith(mark):
            return decoded_as(data[len(mark) :], encoding, name)
    return decoded_as(data, "utf-8", name)


def decoded_as(data: bytes, encoding: str, name: str) -> str:
    """Data as text in an encoding. Raises GlmqError, with `name`, when it is no text."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # in no text, but in most data, and in UTF-16 that has no mark
        raise GlmqError(f"{name} is no text in UTF-8; the model reads text only")
    return text
