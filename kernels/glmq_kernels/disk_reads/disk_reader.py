"""Reading parts of files into memory in the background, by threads that never need the interpreter."""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import sys
import threading
import weakref
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..arrays import address_of, aligned_zeros, zeros
from ..jit.store import Kernel, kernels, packed
from ..machine.numa import stay_on
from .arguments import Post, ReaderCall, Wait
from .reader_state import (
    DROPPED,
    FINISHED,
    IDLE_TAIL,
    PENDING,
    READ,
    READER_BYTES,
    REQUEST_RESULT,
    REQUEST_SLOTS,
    RING_LENGTH,
    URGENT_TAIL,
)

KERNELS = tuple(
    f"disk_reads.reader_kernel.{name}"
    for name in ("read", "initialize", "serve", "post", "drop_idle", "wait", "stop")
)
ALIGNMENT = 4096
"""Of places in files, of lengths and of memory, for reads past the system's file cache."""

N_THREADS = 8
"""Requests in flight: disks are fastest with several."""


class DirectFile:
    """A file opened for reads past the system's file cache, or plainly where its file system has none.

    Raises OSError. handle: what the kernels read from.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        descriptor = _open_direct(path)
        self.is_direct = descriptor is not None
        if descriptor is None:
            descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._descriptor = descriptor
        self.handle = descriptor
        if sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(descriptor, fcntl.F_NOCACHE, 1)
            self.is_direct = True
        elif sys.platform == "win32":
            import msvcrt

            self.handle = msvcrt.get_osfhandle(descriptor)

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = self.handle = -1


def _open_direct(path: Path) -> int | None:
    """A descriptor for direct reads, or None where the file system refuses to open or to read so."""
    if sys.platform != "linux":
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    except OSError:
        return None
    try:
        os.preadv(descriptor, [mmap.mmap(-1, ALIGNMENT)], 0)
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def aligned_memory(n_bytes: int, *, large_pages: bool = True) -> np.ndarray:
    """Zeroed uint8 memory for direct reads, in large pages where the system has them."""
    size = max(n_bytes, ALIGNMENT)
    if sys.platform == "win32":
        memory = mmap.mmap(-1, size)
    else:
        memory = mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if large_pages and sys.platform == "linux":
        with contextlib.suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def room_for(n_bytes: int) -> int:
    """Memory that a part of a file takes: whole units around it, wherever it begins."""
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT + ALIGNMENT


@dataclass(frozen=True)
class Part:
    """Bytes `offset` to `offset + n_bytes` of a file."""

    file: DirectFile
    offset: int
    n_bytes: int


@dataclass
class Request:
    """A part on its way to memory. address: where its first byte comes to be."""

    part: Part
    address: int
    slot: int


class DiskReader:
    """Reading threads and what was asked of them. Used by one thread at a time.

    In a copy of the process that fork has made the threads do not exist; `close` then waits for nothing.
    """

    def __init__(self, n_threads: int = N_THREADS, read: int = 0, processors: Collection[int] = ()) -> None:
        """`read`: address of a function to use instead of the kernel `read`, for tests.

        processors: logical ones on which the threads stay, so that what they read first into fresh memory is
        in the node of memory near these.
        """
        self._process = os.getpid()
        self._shared = aligned_zeros(READER_BYTES)
        self._slots = self._shared.view(np.int64)
        self._requests = aligned_zeros(RING_LENGTH * REQUEST_SLOTS * 8).view(np.int64)
        self._requests = self._requests.reshape(RING_LENGTH, REQUEST_SLOTS)
        self._free = list(range(RING_LENGTH))
        loaded = kernels(KERNELS)
        fulfil, initialize, serve, self._post, self._drop_idle, self._wait, stop = (
            loaded[name] for name in KERNELS
        )
        self._slots[READ // 8] = read or fulfil.address
        self._call = packed(ReaderCall, shared=address_of(self._shared))
        initialize(address_of(self._call))
        self._targets: list[np.ndarray] = []
        memory = (self._shared, self._requests, self._call, self._targets)
        self._threads = [
            threading.Thread(
                target=_serve, args=(serve, memory, processors), name=f"glmq-read-{i}", daemon=True
            )
            for i in range(n_threads)
        ]
        for thread in self._threads:
            thread.start()
        self._finalizer = weakref.finalize(self, _stop, stop, memory, self._threads, self._process)

    def keep(self, memory: np.ndarray) -> None:
        """Hold memory into which parts are read until the threads have ended."""
        self._targets.append(memory)

    def post(self, parts: Sequence[tuple[Part, int]], *, idle: bool = False) -> list[Request]:
        """Ask for parts, each into the memory of `room_for` bytes at an aligned address.

        idle: to be read only while nothing else is.
        """
        asked = []
        addresses = zeros(len(parts), np.int64)
        for i, (part, room) in enumerate(parts):
            first = part.offset // ALIGNMENT * ALIGNMENT
            last = -(-(part.offset + part.n_bytes) // ALIGNMENT) * ALIGNMENT
            slot = self._free.pop()
            self._requests[slot] = part.file.handle, first, last - first, room, PENDING, 0, 0, 0
            asked.append(Request(part, room + part.offset - first, slot))
            addresses[i] = address_of(self._requests) + slot * REQUEST_SLOTS * 8
        call = packed(
            Post,
            shared=address_of(self._shared),
            requests=address_of(addresses),
            n_requests=len(parts),
            idle=int(idle),
        )
        self._post(address_of(call))
        return asked

    def result(self, request: Request) -> int:
        """Bytes of the part that have been read, a negative error number, PENDING or DROPPED."""
        found = int(self._requests[request.slot, REQUEST_RESULT // 8])
        if found < 0:
            return found
        before = request.part.offset % ALIGNMENT
        return max(0, min(found - before, request.part.n_bytes))

    def release(self, request: Request) -> None:
        """Forget a request that is not pending."""
        self._free.append(request.slot)

    @property
    def n_finished(self) -> int:
        """Requests that have been read, have failed or were taken back."""
        return int(self._slots[FINISHED // 8])

    def wait(self, n_finished: int) -> None:
        """Sleep until `n_finished` is another number."""
        call = packed(Wait, shared=address_of(self._shared), n_finished=n_finished)
        self._wait(address_of(call))

    def drop_idle(self) -> None:
        """Take back the idle requests that have not been begun; their result becomes DROPPED."""
        self._drop_idle(address_of(self._call))

    def await_result(self, request: Request) -> None:
        """Sleep until a request is not pending."""
        while True:
            seen = self.n_finished
            if self.result(request) != PENDING:
                return
            self.wait(seen)

    def drain(self) -> None:
        """Take back what is idle, wait for all else, and forget every request."""
        self.drop_idle()
        while (seen := self.n_finished) != self._slots[URGENT_TAIL // 8] + self._slots[IDLE_TAIL // 8]:
            self.wait(seen)
        self._free = list(range(RING_LENGTH))

    def close(self) -> None:
        """End the threads, after what they are reading."""
        if os.getpid() == self._process:
            self.drop_idle()
            self._finalizer()
        self._targets.clear()


def check(request: Request, result: int) -> None:
    """Raise OSError when a request did not bring its whole part."""
    if result < 0 and result != DROPPED:
        if sys.platform == "win32":
            raise ctypes.WinError(-result)
        raise OSError(-result, os.strerror(-result))
    if result < request.part.n_bytes:
        raise OSError(0, "the file ends there")


Memory = tuple[np.ndarray, np.ndarray, np.ndarray, list[np.ndarray]]
"""The shared state, the requests, the argument array that holds the former's address, and where parts go."""


def _serve(serve: Kernel, memory: Memory, processors: Collection[int]) -> None:
    if processors:
        stay_on(processors)
    serve(address_of(memory[2]))


def _stop(stop: Kernel, memory: Memory, threads: list[threading.Thread], process: int) -> None:
    if os.getpid() != process:
        return
    stop(address_of(memory[2]))
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join()
