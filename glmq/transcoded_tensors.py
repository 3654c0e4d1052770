"""Low-bit weights that become, as they are read, what is multiplied faster and takes more room.

Pieces of a tensor are read in groups; while one is read, threads transcode the one before it:

    file      | piece | piece | ... 8 | piece | ...
    buffers   | 8 pieces as in the file | 8 pieces |      taking turns
    memory    | 8 pieces transcoded | ...
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

import numpy as np
from glmq_kernels.arrays import address_of
from glmq_kernels.disk_reads.disk_reader import ALIGNMENT, Part, aligned_memory, room_for
from glmq_kernels.formats.tensor_types import KERNEL_TYPES, TRANSCODED_TYPES
from glmq_kernels.formats.transcoding import kernel_name, transcode
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.jit.store import kernels

from .experts.disk import Disk
from .experts.fetching import read_now
from .experts.offloaded_experts import STACKED
from .gguf import GGUFFile
from .gguf.tensors import TensorInfo
from .memory_plan import show_size

PIECE = 4 << 20
"""Bytes that are read and transcoded at a time, or somewhat less."""

PIECES_AT_ONCE = 8


class TranscodedTensors:
    """A model's tensors that are to be transcoded, and what becomes of them."""

    def __init__(self) -> None:
        self._wanted: dict[str, TensorInfo] = {}
        self._made: dict[str, np.ndarray] = {}

    def want(self, info: TensorInfo) -> str | None:
        """The type that a tensor is given, None where it stays as it is."""
        if info.type not in TRANSCODED_TYPES:
            return None
        self._wanted[info.name] = info
        return TRANSCODED_TYPES[info.type].name

    def made(self, name: str) -> np.ndarray | None:
        """A tensor's new bytes, uint8 (n_bytes,); None before `make`."""
        return self._made.get(name)

    @property
    def more_bytes(self) -> int:
        """Memory that they take more than in the file."""
        return sum(map(_more_bytes, self._wanted.values()))

    @property
    def more_expert_bytes(self) -> int:
        """Of that, what routed experts take."""
        return sum(_more_bytes(info) for name, info in self._wanted.items() if STACKED.fullmatch(name))

    def kernel_names(self) -> list[str]:
        """The kernels that make them."""
        return [kernel_name(name) for name in sorted({info.type for info in self._wanted.values()})]

    def remark(self) -> str:
        """What is to be told of them."""
        if not self._wanted:
            return f"nothing is transcoded: the file has no matrices of type {', '.join(TRANSCODED_TYPES)}"
        types = sorted({info.type for info in self._wanted.values()})
        n_bytes = sum(map(_new_bytes, self._wanted.values()))
        return (
            f"weights of {_listed(types)} are transcoded to {show_size(n_bytes)},"
            f" {show_size(self.more_bytes)} more than in the file"
        )

    def make(self, file: GGUFFile, n_threads: int, progress: Progress | None = None) -> None:
        """Read and transcode them, in the order of the files.

        progress(text, fraction): called now and then. Raises GlmqError when a file cannot be read or has
        changed.
        """
        infos = sorted(self._wanted.values(), key=lambda info: (info.file_index, info.offset))
        total, done = sum(info.n_bytes for info in infos), 0

        def told(n_bytes: int) -> None:
            nonlocal done
            done += n_bytes
            if progress and total:
                text = f"transcoding weights: {done / 1e9:.1f} of {total / 1e9:.1f} GB"
                progress(text, done / total)

        kernels(self.kernel_names(), progress)
        told(0)
        with closing(Disk(file.paths)) as disk, ThreadPoolExecutor(n_threads) as threads:
            source = _Source(disk, threads, told)
            for info in infos:
                self._made[info.name] = source.transcoded(info)
        file.check_unchanged()


class _Source:
    """Where tensors are read from, and the buffers that their pieces pass through."""

    def __init__(self, disk: Disk, threads: ThreadPoolExecutor, told: Callable[[int], None]) -> None:
        self._disk, self._threads, self._told = disk, threads, told
        self._room = room_for(PIECE)
        self._buffers = [aligned_memory(PIECES_AT_ONCE * self._room) for _ in range(2)]
        self._busy: list[list[Future[None]]] = [[], []]
        for buffer in self._buffers:
            disk.reader.keep(buffer)

    def transcoded(self, info: TensorInfo) -> np.ndarray:
        """A tensor's new bytes."""
        old, new = KERNEL_TYPES[info.type].block_bytes, TRANSCODED_TYPES[info.type].block_bytes
        out = aligned_memory(_new_bytes(info))[: _new_bytes(info)]
        piece = PIECE // old * old
        starts = range(0, info.n_bytes, piece)
        for first in range(0, len(starts), PIECES_AT_ONCE):
            here = [(start, min(start + piece, info.n_bytes)) for start in starts[first:][:PIECES_AT_ONCE]]
            for (start, end), blocks in zip(here, self._read(info, here), strict=True):
                target = out[start // old * new : end // old * new]
                self._busy[1].append(self._threads.submit(transcode, blocks, info.type, target))
            self._told(here[-1][1] - here[0][0])
        self._finish(1)
        self._finish(0)
        return out

    def _read(self, info: TensorInfo, pieces: Sequence[tuple[int, int]]) -> list[np.ndarray]:
        """Pieces of a tensor in the buffer that is free, which is the second from now on."""
        self._buffers.reverse()
        self._busy.reverse()
        self._finish(1)
        file, buffer = self._disk.files[info.file_index], self._buffers[1]
        parts, found = [], []
        for i, (start, end) in enumerate(pieces):
            at, before = i * self._room, (info.offset + start) % ALIGNMENT
            parts.append((Part(file, info.offset + start, end - start), address_of(buffer) + at))
            found.append(buffer[at + before : at + before + end - start])
        read_now(self._disk.reader, parts)
        return found

    def _finish(self, i: int) -> None:
        """Wait until a buffer is free."""
        for future in self._busy[i]:
            future.result()
        self._busy[i].clear()


def _new_bytes(info: TensorInfo) -> int:
    return info.n_bytes // KERNEL_TYPES[info.type].block_bytes * TRANSCODED_TYPES[info.type].block_bytes


def _more_bytes(info: TensorInfo) -> int:
    return _new_bytes(info) - info.n_bytes


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
