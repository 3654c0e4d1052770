"""Pages of the KV cache on the disk, while there is no memory for them.

    place 0 | place 1 | place 2 | ...     room for a page each, in whole blocks of the disk

What conversations hold is in this file. It is for its owner alone and has no name, so that nothing is left
of it, however the process ends.
"""

from __future__ import annotations

import heapq
import os
import shutil
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from glmq_kernels.arrays import address_of
from glmq_kernels.errors import GlmqError
from glmq_kernels.jit.cache_folder import private_folder
from glmq_kernels.ops.attention.cache_layout import CacheShape

from ..commit_file import checksum
from ..memory_plan import show_size
from ..optional_packages import require_packages
from .unnamed_file import BLOCK, UnnamedFile

ROOM_LEFT = 1 << 30
"""Bytes of the disk that pages do not take, so that the system and other programs go on."""

MOST_UNASKED = 256 << 20
"""The system is asked what the disk has free whenever so many bytes have been taken of it."""

IN_MEMORY = ("tmpfs", "ramfs")
"""File systems whose files are in the memory that pages are to leave."""


@dataclass(frozen=True)
class DiskRoom:
    """What pages may take of the disk: so many bytes at most, in a folder."""

    n_bytes: int
    folder: Path

    @property
    def remark(self) -> str | None:
        """What is to be known where the disk has not so much free."""
        free = max(0, shutil.disk_usage(self.folder).free - ROOM_LEFT)
        if free >= self.n_bytes:
            return None
        return (
            f"pages of the KV cache may take {show_size(self.n_bytes)} of the disk of {self.folder}, of which"
            f" {show_size(free)} can be had now"
        )


def disk_room(n_bytes: int, folder: Path | None) -> DiskRoom:
    """Room for pages, by default in the cache folder. Raises GlmqError where no file for them can be made."""
    folder = private_folder("pages") if folder is None else folder
    if not folder.is_dir():
        raise GlmqError(
            f"there is no folder {folder} for pages of the KV cache; create it first", setting="cache_folder"
        )
    if _file_system(folder) in IN_MEMORY:
        raise GlmqError(
            f"{folder} is in memory, which pages of the KV cache are to leave; name a folder on a disk",
            setting="cache_folder",
        )
    _open(folder)
    return DiskRoom(n_bytes, folder)


@dataclass(frozen=True, eq=False)
class Place:
    """A page in the file. trunk, rest: checksums of what the trunk's layers have in it, and of the rest.

    As long as the same place is named, the same bytes are there: a page that is written to the same room of
    the file later has another one.
    """

    number: int
    trunk: int
    rest: int


class PageFile:
    """A file for pages of one shape. Raises GlmqError where there cannot be one.

    `take` and `give_back` are called by one thread at a time, `write` and `read` by any. n_taken: places that
    are taken; max_places: the most there may be.
    """

    def __init__(self, room: DiskRoom, shape: CacheShape) -> None:
        require_packages("xxhash")
        self.folder = room.folder
        self._trunk_bytes = shape.trunk.page_bytes
        self.place_bytes = -(-shape.page_bytes // BLOCK) * BLOCK
        self.max_places = room.n_bytes // self.place_bytes
        self.n_taken = 0
        self._end = 0
        self._free: list[int] = []  # a heap, so that the file stays short
        self._granted = 0
        self._process = os.getpid()
        self._buffers = threading.local()
        self._check_room()
        self._file: UnnamedFile | None = _open(self.folder)

    @property
    def n_bytes(self) -> int:
        """Disk space of the places that are taken."""
        return self.n_taken * self.place_bytes

    @property
    def max_bytes(self) -> int:
        """The most disk space that pages may take."""
        return self.max_places * self.place_bytes

    def take(self) -> int | None:
        """A place, the first that is free; None where the limit is reached, or the disk is full."""
        if self._free:
            number = heapq.heappop(self._free)
        elif self._end < self.max_places and self._grows():
            number, self._end = self._end, self._end + 1
        else:
            return None
        self.n_taken += 1
        return number

    def give_back(self, number: int) -> None:
        """Let another page have a place."""
        heapq.heappush(self._free, number)
        self.n_taken -= 1

    def write(self, number: int, page: np.ndarray) -> Place:
        """Write a page, uint8 (page_bytes,), to a place that was taken. Raises OSError."""
        file = self._usable()
        if file is None:
            raise OSError("the file is closed")
        buffer = page if _is_in_blocks(page) else self._buffer()
        if buffer is not page:
            buffer[: len(page)] = page
        file.write(number * self.place_bytes, buffer.data)
        return Place(number, *self._checksums(page))

    def read(self, place: Place, page: np.ndarray) -> bool:
        """Fill a page; whether it is what was written. Raises OSError."""
        file = self._usable()
        if file is None:
            return False
        buffer = page if _is_in_blocks(page) else self._buffer()
        if not file.read(place.number * self.place_bytes, buffer.data):
            return False
        if buffer is not page:
            page[:] = buffer[: len(page)]
        return self._checksums(page) == (place.trunk, place.rest)

    def holds(self, place: Place, page: np.ndarray) -> bool:
        """Whether all that the trunk reads of a page is what stands in a place."""
        return checksum(page[: self._trunk_bytes].data) == place.trunk

    def close(self) -> None:
        """Let go of the file as soon as those who read and write have come to an end."""
        self._file = None

    def _usable(self) -> UnnamedFile | None:
        """The file, in the process that made it: a copy made by fork must not change what the other reads."""
        return self._file if os.getpid() == self._process else None

    def _checksums(self, page: np.ndarray) -> tuple[int, int]:
        return checksum(page[: self._trunk_bytes].data), checksum(page[self._trunk_bytes :].data)

    def _buffer(self) -> np.ndarray:
        """Memory of this thread for a page in whole blocks."""
        buffer: np.ndarray | None = getattr(self._buffers, "memory", None)
        if buffer is None:
            memory = np.zeros(self.place_bytes + BLOCK, np.uint8)
            first = -address_of(memory) % BLOCK
            buffer = self._buffers.memory = memory[first : first + self.place_bytes]
        return buffer

    def _grows(self) -> bool:
        """Whether the disk has room for one page more."""
        if self._granted < self.place_bytes:
            try:
                free = shutil.disk_usage(self.folder).free - ROOM_LEFT
            except OSError:
                return False
            self._granted = min(free, MOST_UNASKED + self.place_bytes)
            if free < self.place_bytes:
                return False
        self._granted -= self.place_bytes
        return True

    def _check_room(self) -> None:
        """Raise GlmqError where no page at all could be kept."""
        if self.max_places < 1:
            raise GlmqError(
                f"one page of this model's KV cache takes {show_size(self.place_bytes)} of the disk;"
                f" allow at least that, better {show_size(1000 * self.place_bytes)}",
                setting="cache_disk",
            )
        if not self._grows():
            raise GlmqError(
                f"the disk of {self.folder} has no room for pages of the KV cache beside"
                f" {show_size(ROOM_LEFT)} that are left free; make room there, or name another folder",
                setting="cache_folder",
            )
        self._granted = 0


def _open(folder: Path) -> UnnamedFile:
    """A file in a folder. Raises GlmqError."""
    try:
        return UnnamedFile(folder)
    except OSError as error:
        raise GlmqError(
            f"no file for pages of the KV cache can be made in {folder}: {error.strerror or error};"
            " name another folder",
            setting="cache_folder",
        ) from None


def _is_in_blocks(page: np.ndarray) -> bool:
    """Whether a page's own memory can be read into and written from past the file cache."""
    return address_of(page) % BLOCK == 0 and len(page) % BLOCK == 0


def _file_system(folder: Path) -> str:
    """The kind of file system that a folder is on; empty where the system does not tell (all but Linux).

    A line of mountinfo: number, parent, device, top, mount point, options ..., "-", type, source, options.
    """
    if sys.platform != "linux":
        return ""
    device = folder.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split()[2] == number:
            return after.split()[0]
    return ""
