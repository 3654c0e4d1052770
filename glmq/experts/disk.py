"""Weights of a model larger than memory: dense ones read once into the process, experts by parts."""

from __future__ import annotations

import mmap
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from glmq_kernels.arrays import address_of
from glmq_kernels.disk_reads.disk_reader import (
    ALIGNMENT,
    DirectFile,
    DiskReader,
    Part,
    aligned_memory,
    room_for,
)
from glmq_kernels.errors import GlmqError

from ..gguf.tensors import TensorInfo
from .fetching import read_now

CHUNK = 8 << 20
"""Bytes of a large tensor that one request reads, a multiple of ALIGNMENT."""

CHUNKS_AT_ONCE = 32
"""Of a file that is read whole: requests between two steps of its progress."""


class Disk:
    """The files of a model, read past the system's file cache."""

    def __init__(self, paths: Sequence[Path], reader: DiskReader | None = None) -> None:
        self.reader = reader or DiskReader()
        self.files: list[DirectFile] = []
        self._loaded: dict[str, np.ndarray] = {}
        try:
            for path in paths:
                self.files.append(DirectFile(path))
        except OSError as error:
            self.close()
            raise GlmqError(f"{path}: cannot be read: {error.strerror}") from None

    def load(self, info: TensorInfo) -> np.ndarray:
        """A tensor's bytes in memory: uint8 (n_bytes,). Raises GlmqError when they cannot be read."""
        found = self._loaded.get(info.name)
        if found is None:
            found = self._loaded[info.name] = self._read(info)
        return found

    @property
    def loaded_bytes(self) -> int:
        """Of all tensors that were loaded."""
        return sum(tensor.nbytes for tensor in self._loaded.values())

    def load_file(self, index: int, n_bytes: int, told: Callable[[int], None]) -> np.ndarray:
        """The first `n_bytes` of a file in memory, uint8 (n_bytes,), read from its beginning on.

        told(bytes): called now and then with how many more are there. Raises GlmqError when they cannot be
        read.
        """
        memory = self._room(n_bytes)
        for start in range(0, n_bytes, CHUNKS_AT_ONCE * CHUNK):
            end = min(start + CHUNKS_AT_ONCE * CHUNK, n_bytes)
            self._read_range(index, start, end, address_of(memory) + start)
            told(end - start)
        return memory[:n_bytes]

    def read_pieces(self, index: int, pieces: Sequence[tuple[int, int]], memory: np.ndarray) -> None:
        """Read bytes of a file, from multiples of ALIGNMENT on, to their places in memory for all of it.

        Raises GlmqError when they cannot be read.
        """
        self.reader.keep(memory)
        self._read_chunks(index, [chunk for piece in pieces for chunk in _chunks(*piece)], address_of(memory))

    def _read(self, info: TensorInfo) -> np.ndarray:
        memory, start = self._room(info.n_bytes), info.offset // ALIGNMENT * ALIGNMENT
        self._read_range(info.file_index, start, info.offset + info.n_bytes, address_of(memory))
        before = info.offset - start
        return memory[before : before + info.n_bytes]

    def _room(self, n_bytes: int) -> np.ndarray:
        """Memory that stays until nothing is read into it any more, whatever interrupts the reading."""
        memory = aligned_memory(room_for(n_bytes))
        self.reader.keep(memory)
        return memory

    def _read_range(self, index: int, start: int, end: int, room: int) -> None:
        """Read bytes of a file to an address; both begin at multiples of ALIGNMENT."""
        self._read_chunks(index, _chunks(start, end), room - start)

    def _read_chunks(self, index: int, chunks: Sequence[tuple[int, int]], file_at: int) -> None:
        """Read chunks of a file. file_at: address of its first byte, were all of it in memory."""
        file = self.files[index]
        read_now(self.reader, [(Part(file, a, b - a), file_at + a) for a, b in chunks])

    def map_rows(self, info: TensorInfo) -> np.ndarray:
        """A tensor's bytes of which few are used: uint8 (n_bytes,), coming into memory by single pages.

        Raises GlmqError when they cannot be mapped.
        """
        start = info.offset // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        path, before = self.files[info.file_index].path, info.offset - start
        try:
            with path.open("rb") as file:
                mapping = mmap.mmap(
                    file.fileno(), before + info.n_bytes, access=mmap.ACCESS_READ, offset=start
                )
        except (OSError, ValueError) as error:
            raise GlmqError(f"{path}: cannot be read: {error}") from None
        if sys.platform != "win32":
            # A row would bring what lies around it, and soon all of the tensor would be in memory.
            mapping.madvise(mmap.MADV_RANDOM)
        return np.frombuffer(mapping, np.uint8)[before:]

    def parts(self, info: TensorInfo, count: int) -> list[Part]:
        """The places of a tensor's `count` equal parts, one per expert."""
        size = info.n_bytes // count
        return [Part(self.files[info.file_index], info.offset + i * size, size) for i in range(count)]

    def close(self) -> None:
        """End reading and let go of the files."""
        self.reader.close()
        for file in self.files:
            file.close()


def _chunks(start: int, end: int) -> list[tuple[int, int]]:
    return [(at, min(at + CHUNK, end)) for at in range(start, end, CHUNK)]
