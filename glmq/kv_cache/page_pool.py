"""The memory of a model's KV cache: pages of a fixed size, taken as sequences grow and given back.

A page is used by any number of sequences and may be kept by the prefix tree besides; it is free when it is
neither. Memory comes from the system in chunks, one page each where pages are large, and goes back when no
page of a chunk is used or kept.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import numpy as np
from glmq_kernels.arrays import ALIGNMENT, address_of, aligned_zeros, guards_pages
from glmq_kernels.ops.attention.cache_layout import CacheShape

from ..errors import OutOfPages
from ..memory_plan import show_size
from ..system_memory import available_memory
from .hidden_states import HiddenStates

CHUNK_BYTES = 4 << 20
"""Memory taken from the system at once, where a page is not larger than this."""

HUGE_PAGE_BYTES = 2 << 20

LEFT_TO_SYSTEM = 16 << 20
"""Free memory that is not taken: systems give more than they have, and end processes when it is used."""

ASKED_AGAIN, MOST_UNASKED = 8, 256 << 20
"""The system is asked what it has free when one part in so many of that has been taken, or so many bytes."""


class Page:
    """A page of the pool.

    bytes: uint8 (page_bytes,), at `address`. n_users: sequences that hold it. is_kept: whether the prefix
    tree holds it; is_written: and whether the page file has it too. hidden: of one that was published before
    it was full, what multi-token prediction goes on from behind its tokens.
    """

    __slots__ = ("_chunk", "address", "bytes", "hidden", "is_kept", "is_written", "n_users")

    def __init__(self, chunk: _Chunk, memory: np.ndarray) -> None:
        self._chunk = chunk
        self.bytes = memory
        self.address = address_of(memory)
        self.n_users = 0
        self.is_kept = False
        self.is_written = False
        self.hidden: HiddenStates | None = None

    @property
    def is_shared(self) -> bool:
        """Whether others than one sequence hold it, so that this one must not write to it."""
        return self.is_kept or self.n_users > 1


class _Chunk:
    """Memory of `n_pages` pages. free: those that nobody holds."""

    def __init__(self, n_pages: int, stride: int, page_bytes: int) -> None:
        memory = _memory(n_pages * stride)
        starts = range((n_pages - 1) * stride, -1, -stride)
        self.n_pages = n_pages
        self.free = [Page(self, memory[start : start + page_bytes]) for start in starts]


class PrefixCache(Protocol):
    """What keeps pages that no sequence uses."""

    def became_idle(self, page: Page) -> None:
        """A kept page has lost its last user."""

    def reclaim(self) -> Page | None:
        """Let go of the idle page that was used least recently; None where there is none."""


class PagePool:
    """Pages of one model, at most `max_pages` at any time.

    All methods but `change_when_free` are called with `lock` held. n_used: pages that sequences hold. n_idle:
    pages that only the prefix tree holds; n_idle_written: those of them that the page file has too. n_taken:
    pages for which memory is taken.
    """

    def __init__(self, shape: CacheShape, max_bytes: int) -> None:
        self.shape = shape
        self._trunk_bytes = shape.trunk.page_bytes
        self._stride = -(-shape.page_bytes // ALIGNMENT) * ALIGNMENT
        self.max_pages = max_bytes // self._stride
        self.n_used = self.n_idle = self.n_idle_written = self.n_taken = 0
        self._is_refused = False  # whether the system had no memory when it was asked last
        self.lock = threading.Lock()
        _pools.add(self)
        self._waiting: deque[Callable[[], None]] = deque()
        self.prefix_cache: PrefixCache | None = None
        self._chunk_pages = 1 if guards_pages() else max(1, CHUNK_BYTES // self._stride)
        self._open: dict[_Chunk, None] = {}  # chunks with free pages, in the order in which they became so
        self._granted = 0  # bytes that may be taken before the system is asked again

    @property
    def n_available(self) -> int:
        """Pages that can be taken now: free ones, and idle ones of the prefix tree."""
        return self.max_pages - self.n_used

    @property
    def n_free(self) -> int:
        """Pages that can be taken without any of the prefix tree's."""
        most = self.n_taken if self._is_refused else self.max_pages
        return most - self.n_used - self.n_idle

    @property
    def n_bytes(self) -> int:
        """Memory that is taken from the system."""
        return self.n_taken * self._stride

    def take(self) -> Page:
        """A page for one sequence.

        What the trunk's layers have in it is not defined. Rows of multi-token prediction are zeros: some are
        never written, and what others wrote there would go on into drafts and session files. Raises
        OutOfPages when all pages are used, or the system gives no memory.
        """
        page = self._free_page()
        page.bytes[self._trunk_bytes :] = 0
        page.n_users = 1
        self.n_used += 1
        return page

    def use(self, page: Page) -> None:
        """One more sequence holds a page."""
        if page.n_users == 0:
            self.n_used += 1
            self._is_idle_no_more(page)
        page.n_users += 1

    def drop(self, page: Page) -> None:
        """One sequence less holds a page."""
        page.n_users -= 1
        if page.n_users:
            return
        self.n_used -= 1
        if not page.is_kept:
            self._free(page)
            return
        self.n_idle += 1
        self.n_idle_written += page.is_written
        assert self.prefix_cache is not None, "it keeps the page"
        self.prefix_cache.became_idle(page)

    def drop_all(self, pages: list[Page]) -> None:
        """Drop pages of a sequence, the last first, so that it is the first to be reclaimed."""
        while pages:
            self.drop(pages.pop())

    def keep(self, page: Page) -> None:
        """The prefix tree holds a page that a sequence uses."""
        page.is_kept = True

    def let_go(self, page: Page) -> None:
        """The prefix tree does not hold a page any more."""
        page.is_kept = False
        if not page.n_users:
            self._is_idle_no_more(page)
            self._free(page)
        page.is_written = False

    def note_written(self, page: Page, is_written: bool) -> None:
        """The page file has a kept page too, or has it no more."""
        if not page.n_users:
            self.n_idle_written += is_written - page.is_written
        page.is_written = is_written

    def change_when_free(self, change: Callable[[], None]) -> None:
        """Call `change` with the lock held: now, or where somebody holds it when the next page is taken.

        For garbage collection, which may come in the middle of another change, in the same thread.
        """
        self._waiting.append(change)
        if self.lock.acquire(blocking=False):
            try:
                self.settle()
            finally:
                self.lock.release()

    def settle(self) -> None:
        """Do what has waited for the lock."""
        while self._waiting:
            self._waiting.popleft()()

    def _free_page(self) -> Page:
        self.settle()
        lack = f"all {show_size(self.max_pages * self._stride)} of the KV cache are in use"
        if not self._open and self.n_taken < self.max_pages:
            try:
                self._open_chunk(min(self._chunk_pages, self.max_pages - self.n_taken))
            except MemoryError:
                self._is_refused = True
                lack = "the system gives no more memory for the KV cache"
        if self._open:
            chunk = next(iter(self._open))
            page = chunk.free.pop()
            if not chunk.free:
                del self._open[chunk]
            return page
        idle = self.prefix_cache.reclaim() if self.prefix_cache else None
        if idle is None:
            raise OutOfPages(f"{lack}; end other answers, or give the model more memory", setting="ram")
        self._is_idle_no_more(idle)
        idle.is_kept, idle.is_written, idle.hidden = False, False, None
        return idle

    def _is_idle_no_more(self, page: Page) -> None:
        self.n_idle -= 1
        self.n_idle_written -= page.is_written

    def _open_chunk(self, n_pages: int) -> None:
        self._require_memory(n_pages * self._stride)
        self._open[_Chunk(n_pages, self._stride, self.shape.page_bytes)] = None
        self.n_taken += n_pages
        self._is_refused = False

    def _require_memory(self, n_bytes: int) -> None:
        """Raise MemoryError where the system has not so much to give, whatever other programs have taken."""
        if self._granted < n_bytes:
            available = available_memory()
            if available is not None and available < n_bytes + LEFT_TO_SYSTEM:
                raise MemoryError(f"{n_bytes} bytes")
            self._granted = n_bytes + min((available or 0) // ASKED_AGAIN, MOST_UNASKED)
        self._granted -= n_bytes

    def _free(self, page: Page) -> None:
        chunk = page._chunk
        page.hidden = None
        chunk.free.append(page)
        self._open[chunk] = None
        if len(chunk.free) == chunk.n_pages:
            del self._open[chunk]
            chunk.free.clear()  # ends the circle of references, and so the memory
            self.n_taken -= chunk.n_pages


_pools: weakref.WeakSet[PagePool] = weakref.WeakSet()


def _renew_locks() -> None:
    """In a copy of the process, made by fork, a thread that held a lock does not exist."""
    for pool in _pools:
        pool.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)


def _memory(n_bytes: int) -> np.ndarray:
    """Zeroed uint8 memory of its own, which goes back to the system as soon as it is let go of."""
    if guards_pages() or sys.platform == "win32":
        return aligned_zeros(n_bytes)
    try:
        mapping = mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except (OSError, OverflowError):
        raise MemoryError(f"{n_bytes} bytes") from None
    if n_bytes >= HUGE_PAGE_BYTES and sys.platform == "linux":
        with suppress(OSError):
            mapping.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(mapping, np.uint8)
