"""Models of which only the headers are here: their files lie where reading takes long, such as on a server.

What such a model's tensors are is known, what is in them is not. Where a tensor's bytes are asked for there
are others in their place, so that a program can be built, which then tells what the model needs.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from .file import GGUFFile
from .header import Header, read_header
from .header_reader import HeaderGoesOn
from .splits import check_parts, part_names

FIRST_BYTES, AT_ONCE = 256 << 10, 4 << 20
"""Read of a file to begin with, and then as long as its header goes on."""

STANDING_IN = 0x3C
"""The byte in the place of all others. Repeated it is a number above 0 in F32, F16 and BF16."""


class RangedFile(Protocol):
    """A file of which any stretch can be read."""

    @property
    def n_bytes(self) -> int:
        """Its size."""

    @property
    def identity(self) -> str:
        """What tells its state from others."""

    def read(self, first: int, n_bytes: int) -> bytes:
        """Bytes from the place `first` on; fewer only at the end of the file."""


class _Described:
    """One file, in the place of a `MappedFile`."""

    def __init__(self, file: RangedFile) -> None:
        self.identity = file.identity
        self.data: np.ndarray = np.broadcast_to(np.uint8(STANDING_IN), (file.n_bytes,))

    def check_unchanged(self) -> None:
        """Nothing of it is used but its header, which is here."""

    def close(self) -> None:
        """There is nothing to let go of."""


def open_described(path: Path, open_part: Callable[[Path], RangedFile]) -> GGUFFile:
    """A model of which only the headers are read; they are all that is true of it.

    path: of any part of a model; the others are named as it is. Raises GGUFError for everything that is not
    a sound GGUF file, and whatever `open_part` and the files raise.
    """
    files = [open_part(path)]
    headers = [_read_header(files[0], path)]
    paths = part_names(path, headers[0])
    if len(paths) > 1:
        files = [files[0] if part == path else open_part(part) for part in paths]
        headers = [
            headers[0] if part == path and i == 0 else _read_header(files[i], part, i)
            for i, part in enumerate(paths)
        ]
        check_parts(paths, headers)
    return GGUFFile(path, paths, headers, [_Described(file) for file in files])


def _read_header(file: RangedFile, path: Path, file_index: int = 0) -> Header:
    """Read as much as the header has."""
    data = bytearray(file.read(0, FIRST_BYTES))
    while True:
        try:
            return read_header(np.frombuffer(data, np.uint8), path, file_index, file.n_bytes)
        except HeaderGoesOn:
            data = data + file.read(len(data), max(AT_ONCE, len(data)))
