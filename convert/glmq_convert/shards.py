"""Checkpoints whose files are elsewhere, and come one at a time.

A `ShardStore` gives the bytes of safetensors files (shards). Files on the disk are there; another store may
have to fetch a file before much of it is read, may do so while the one before it is converted, and lets it go
when all that is made of it is written.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Protocol


class ShardStore(Protocol):
    """Where the bytes of a checkpoint's files are.

    identity: what tells the files' content from others'. The headers of all files are at their paths. Reading
    is safe from any number of threads, and may be slow for a file that was not fetched.
    """

    identity: str

    def size(self, path: Path) -> int:
        """Bytes of a file."""

    def read(self, path: Path, offset: int, target: memoryview) -> int:
        """Read bytes of a file into `target`; gives how many, which may be less."""

    def fetch(self, path: Path) -> None:
        """Have a file at hand."""

    def fetch_ahead(self, path: Path, n_bytes: int) -> None:
        """Begin to fetch a file, if the disk has room for it beside `n_bytes` that are yet to be written."""

    def release(self, path: Path) -> None:
        """Let go of a file that was fetched."""


class FilesOnDisk:
    """Files that are where their paths say."""

    identity = ""

    def __init__(self) -> None:
        self._opened = threading.local()

    def size(self, path: Path) -> int:
        """Bytes of a file."""
        return path.stat().st_size

    def read(self, path: Path, offset: int, target: memoryview) -> int:
        """Read bytes of a file; of each thread's only the last one used stays open."""
        if getattr(self._opened, "path", None) != path:
            self._opened.file = FileIO(path)
            self._opened.path = path
        self._opened.file.seek(offset)
        return self._opened.file.readinto(target) or 0

    def fetch(self, path: Path) -> None:
        """Nothing has to be done."""

    def fetch_ahead(self, path: Path, n_bytes: int) -> None:
        """Nothing has to be done."""

    def release(self, path: Path) -> None:
        """Nothing has to be done."""


def _nothing(*arguments: object) -> None:
    pass


@dataclass(frozen=True)
class Shard:
    """A part of a source that is converted at one go.

    holds(source): whether rows of that name, as a plan's pieces have it, are read of it. The others are
    those of `ShardStore`.
    """

    holds: Callable[[str], bool] = lambda source: True
    fetch: Callable[[], None] = _nothing
    fetch_ahead: Callable[[int], None] = _nothing
    release: Callable[[], None] = _nothing


WHOLE = (Shard(),)
"""All of a source at one go."""


def shards_of(files: Mapping[str, Path], store: ShardStore) -> tuple[Shard, ...]:
    """The files of a checkpoint, one after the other. files: by the tensors' names.

    What is read of no file by that name, such as what follows from config.json, goes with the first.
    """
    first, *others = sorted(set(files.values()))

    def shard(path: Path) -> Shard:
        def holds(source: str) -> bool:
            return files.get(source.partition(" (")[0], first) == path  # the rest says how rows are read

        fetch, release = partial(store.fetch, path), partial(store.release, path)
        return Shard(holds, fetch, partial(store.fetch_ahead, path), release)

    return tuple(shard(path) for path in (first, *others))
