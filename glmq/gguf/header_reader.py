"""Reading numbers and strings one after another from bytes that may be damaged."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from .errors import GGUFError

LONGEST_NAME = 1024  # the format allows keys of 65535 bytes, real ones have dozens
MOST_ARRAY_ELEMENTS = 1 << 24  # of all arrays of a file together


class HeaderGoesOn(Exception):
    """What is to be read lies behind those of a file's bytes that are here."""


class HeaderReader:
    """A position in the bytes of a file; no step goes past their end.

    file_bytes: of the whole file, of which `data` may be the beginning alone. HeaderGoesOn is raised where
    that is not enough.
    """

    def __init__(self, data: np.ndarray, path: Path, file_bytes: int | None = None) -> None:
        self.data = data
        self.path = path
        self.file_bytes = len(data) if file_bytes is None else file_bytes
        self.position = 0
        self.elements_left = MOST_ARRAY_ELEMENTS
        self._bytes: memoryview = data.data

    @property
    def left(self) -> int:
        """Bytes from the position to the end of the file."""
        return self.file_bytes - self.position

    @property
    def is_beginning(self) -> bool:
        """Whether the file has more bytes than are here."""
        return len(self._bytes) < self.file_bytes

    def damaged(self, message: str) -> GGUFError:
        """An error to raise: the file is not as it was written."""
        return GGUFError(f"{self.path}: damaged or cut short: {message}; download it again")

    def take(self, count: int, what: str) -> memoryview:
        """The next `count` bytes."""
        if count > self.left:
            raise self.damaged(f"{what} runs past the end of the file")
        if self.position + count > len(self._bytes):
            raise HeaderGoesOn
        self.position += count
        return self._bytes[self.position - count : self.position]

    def unpack(self, layout: str, what: str) -> tuple[Any, ...]:
        """The next numbers, laid out as `struct` says."""
        return struct.unpack(layout, self.take(struct.calcsize(layout), what))

    def string(self, what: str, longest: int) -> bytes:
        """The bytes of the next string."""
        (length,) = self.unpack("<Q", what)
        if length > longest:
            raise self.damaged(f"{what} claims {length} bytes")
        return bytes(self.take(length, what))

    def name(self, what: str) -> str:
        """The next string, which must be text and not empty."""
        try:
            found = self.string(what, LONGEST_NAME).decode("utf-8")
        except UnicodeDecodeError:
            found = ""
        if not found:
            raise self.damaged(f"{what} is not a name")
        return found
