"""A file that goes from one whole state to the next, whatever interrupts a save.

    0      commit                 4096   commit                 each in a disk sector of its own
    8192   unit | unit | unit | ...

    commit   magic "GLMQSES1" | number | bytes of a unit | first unit of the record |
             lengths of its three parts | checksums of its three parts | checksum of all before
    record   text | state | pages: (unit, checksum) of each     in as many units in a row as it needs
    page     one unit

Numbers are little-endian u64, checksums XXH3 of 64 bits. A save writes to units that the last commit does
not use, waits until they are on the disk, and then replaces the older commit. So the last save is whole at
any moment, and the one before it between saves; pages that did not change belong to both. What text, state
and pages are is not known here.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

from glmq_kernels.errors import GlmqError

from .optional_packages import optional_packages

MAGIC = b"GLMQSES1"
COMMIT = struct.Struct("<8s9QQ")
PAGE = struct.Struct("<QQ")
COMMIT_AT = (0, 4096)
UNITS_AT = 8192


@dataclass(frozen=True)
class Commit:
    """Where one state of the file lies. lengths, checksums: of text, state and pages."""

    number: int
    unit_bytes: int
    first_unit: int
    lengths: tuple[int, ...]
    checksums: tuple[int, ...]

    @property
    def record_units(self) -> range:
        """The units that the record takes."""
        return range(self.first_unit, self.first_unit + _units(sum(self.lengths), self.unit_bytes))

    def position(self, unit: int) -> int:
        """Where a unit begins in the file."""
        return UNITS_AT + unit * self.unit_bytes


@dataclass(frozen=True)
class Content:
    """What a commit stands for. text, state: None when damaged. pages: (unit, checksum) of each."""

    commit: Commit
    text: bytes | None
    state: bytes | None
    pages: list[tuple[int, int]]

    @property
    def units(self) -> set[int]:
        """The units that it uses. Only where all parts are sound: damaged numbers may be huge."""
        return {*self.commit.record_units, *(unit for unit, _ in self.pages)}


def checksum(data: bytes | bytearray | memoryview) -> int:
    """XXH3 of 64 bits."""
    with optional_packages():
        import xxhash

    return xxhash.xxh3_64_intdigest(data)


def read_contents(file: FileIO, path: Path) -> list[Content]:
    """What the file's sound commits stand for, the last save first; nothing when both are damaged.

    Raises GlmqError when it is not such a file.
    """
    starts = read_commits(file)
    if not any(start.startswith(MAGIC) for start in starts):
        if starts[0].startswith(MAGIC[:-1]):
            raise GlmqError(f"{path} was saved by another version of glmq, which alone can read it")
        raise GlmqError(f"{path} is not a session file; name one that glmq has saved, or a new one")
    commits = sorted(filter(None, map(_unpack, starts)), key=lambda commit: -commit.number)
    return [_read_content(file, commit) for commit in commits]


def read_commits(file: FileIO) -> list[bytes]:
    """The bytes of both commits; other bytes mean that a save has ended meanwhile."""
    return [_read_start(file, at) for at in COMMIT_AT]


def read_at(file: FileIO, position: int, buffer: memoryview) -> bool:
    """Fill a buffer; False when the file is too short or cannot be read there."""
    view = buffer.cast("B")
    try:
        file.seek(position)
        while view and (n := file.readinto(view)):
            view = view[n:]
    except (OSError, OverflowError):
        return False
    return not view


def write_at(file: FileIO, position: int, data: bytes | memoryview) -> None:
    """Write all of `data`."""
    view = memoryview(data).cast("B")
    file.seek(position)
    while view:
        view = view[file.write(view) :]


class Save:
    """A save under way: pages are added one after another, then the record, then it is committed.

    last: what the file's last commit stands for, None in a new file. n_kept: how many of its pages come
    first in the new state too.
    """

    def __init__(self, file: FileIO, unit_bytes: int, last: Content | None = None, n_kept: int = 0) -> None:
        self._file, self._unit_bytes = file, unit_bytes
        self._number = last.commit.number + 1 if last else 0
        self._pages = last.pages[:n_kept] if last else []
        self._used = last.units if last else set()
        self._free = (unit for unit in itertools.count() if unit not in self._used)

    def add_page(self, data: memoryview) -> None:
        """Write a page of `unit_bytes` bytes."""
        unit = next(self._free)
        write_at(self._file, UNITS_AT + unit * self._unit_bytes, data)
        self._pages.append((unit, checksum(data)))

    def record(self, text: bytes, state: bytes) -> Commit:
        """Write all that a new commit needs; gives the commit, which is not in the file yet."""
        parts = (text, state, b"".join(PAGE.pack(*page) for page in self._pages))
        lengths, checksums = tuple(map(len, parts)), tuple(map(checksum, parts))
        used = self._used.union(unit for unit, _ in self._pages)
        first_unit = _first_gap(used, _units(sum(lengths), self._unit_bytes))
        commit = Commit(self._number, self._unit_bytes, first_unit, lengths, checksums)
        write_at(self._file, commit.position(first_unit), b"".join(parts))
        os.fsync(self._file.fileno())
        return commit

    def commit(self, commit: Commit) -> None:
        """Make the new state the file's own."""
        for at in [COMMIT_AT[self._number % 2]] if self._number else COMMIT_AT:
            write_at(self._file, at, _pack(commit))
        os.fsync(self._file.fileno())
        used = self._used.union((unit for unit, _ in self._pages), commit.record_units)
        end = commit.position(max(used) + 1)
        if os.fstat(self._file.fileno()).st_size > end:
            self._file.truncate(end)


def _units(n_bytes: int, unit_bytes: int) -> int:
    return -(-n_bytes // unit_bytes)


def _first_gap(used: Iterable[int], n: int) -> int:
    """The first of `n` free units in a row."""
    first = 0
    for unit in sorted(used):
        if unit - first >= n:
            break
        first = unit + 1
    return first


def _pack(commit: Commit) -> bytes:
    fields = (commit.number, commit.unit_bytes, commit.first_unit, *commit.lengths, *commit.checksums)
    packed = COMMIT.pack(MAGIC, *fields, 0)[:-8]
    return packed + struct.pack("<Q", checksum(packed))


def _unpack(packed: bytes) -> Commit | None:
    if len(packed) < COMMIT.size or not packed.startswith(MAGIC):
        return None
    _, number, unit_bytes, first_unit, *parts, sum_of_all = COMMIT.unpack(packed)
    if checksum(packed[:-8]) != sum_of_all or not unit_bytes:
        return None
    return Commit(number, unit_bytes, first_unit, tuple(parts[:3]), tuple(parts[3:]))


def _read_start(file: FileIO, position: int) -> bytes:
    file.seek(position)
    return file.read(COMMIT.size)


def _read_content(file: FileIO, commit: Commit) -> Content:
    size = os.fstat(file.fileno()).st_size
    position = commit.position(commit.first_unit)
    parts: list[bytes | None] = []
    for length, expected in zip(commit.lengths, commit.checksums, strict=True):
        part = None
        if position + length <= size:
            buffer = bytearray(length)
            if read_at(file, position, memoryview(buffer)) and checksum(buffer) == expected:
                part = bytes(buffer)
        parts.append(part)
        position += length
    text, state, pages = parts
    if pages is None or len(pages) % PAGE.size:
        return Content(commit, text, None, [])
    return Content(commit, text, state, list(PAGE.iter_unpack(pages)))
