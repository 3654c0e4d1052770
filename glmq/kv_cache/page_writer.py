"""Writes pages that nobody uses to the page file, before their memory is wanted.

So who takes a page waits for no disk: a page that is written only has to be let go of.
"""

from __future__ import annotations

import threading
import time
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue

import numpy as np

from .page_file import PageFile, Place
from .prefix_tree import PrefixTree

FREE_ENOUGH = 0.5
"""Share of the pool; with so much of it free nothing is written."""

ROOM_ENOUGH = 0.25
"""Share of the pool that is free or written; with so much nothing goes from the disk to have more of it."""

PAUSE = 60.0
"""Seconds without writing after the system could not write."""

PATIENCE = 15.0
"""Seconds that somebody waits for room, at most; then pages that are not written yet are thrown away."""

LOOKS_EVERY = 0.005
"""Seconds between two looks of those who wait."""

CLOSING_SECONDS = 1.0
"""How long `close` waits for the page that is being written."""


class PageWriter:
    """A thread that writes idle pages of a tree, the least recently used first, while the pool is short.

    problem: what has gone wrong with the disk last, of which the first is a warning too. The thread ends when
    nobody holds this any more.
    """

    def __init__(self, tree: PrefixTree, file: PageFile) -> None:
        self._tree, self._pool, self._file = tree, tree.pool, file
        self.problem = ""
        self._n_wanted = 0  # pages for which somebody waits
        self._is_awake = False
        self._is_closed = False
        self._pauses_until = 0.0
        self._inbox: SimpleQueue[bool] = SimpleQueue()
        weakref.finalize(self, self._inbox.put, False)
        self._thread = threading.Thread(
            target=_serve, args=(weakref.ref(self), self._inbox), name="glmq-page-writer", daemon=True
        )
        self._thread.start()
        tree.writer = self

    def wake(self) -> None:
        """There may be something to write. Called with the pool's lock held."""
        if not self._is_awake and self._wants_to_write():
            self._is_awake = True
            self._inbox.put(True)

    def wait_for_room(self, n: int, goes_on: Callable[[], bool]) -> None:
        """Wait until `n` pages can be taken without one being thrown away, or that will not be soon.

        goes_on: asked meanwhile. Called without the pool's lock.
        """
        if self._has_room(n):
            return
        deadline = time.monotonic() + PATIENCE
        with self._pool.lock:
            self._n_wanted += n
        try:
            with self._pool.lock:
                self.wake()
            while self._is_awake and not self._has_room(n) and goes_on() and time.monotonic() < deadline:
                time.sleep(LOOKS_EVERY)
        finally:
            with self._pool.lock:
                self._n_wanted -= n

    def could_not_read(self, error: OSError | MemoryError | None) -> None:
        """A page was damaged (None), or the system could not read it."""
        what = f"cannot be read: {_reason(error)}" if error else "are damaged"
        self._tell(f"pages of the KV cache on the disk of {self._file.folder} {what}")

    def close(self) -> None:
        """Write nothing more."""
        self._is_closed = True
        self._inbox.put(False)
        if self._thread is not threading.current_thread():
            self._thread.join(CLOSING_SECONDS)

    def write_all(self) -> None:
        """Write as long as that is wanted and there is something to write."""
        while self._write_one():
            pass

    def _write_one(self) -> bool:
        """Write the next page; False where there is none."""
        with self._pool.lock:
            wants = self._wants_to_write()
            next_one = self._tree.next_to_write(displaces=self._may_displace) if wants else None
            if next_one is None:
                self._is_awake = False
                return False
        node, page, number = next_one
        place = self._written(number, page.bytes)
        with self._pool.lock:
            self._tree.written(node, page, number, place)
        return True

    def _written(self, number: int, page: np.ndarray) -> Place | None:
        try:
            return self._file.write(number, page)
        except (OSError, MemoryError) as error:
            self._pauses_until = time.monotonic() + PAUSE
            if not self._is_closed:
                self._tell(
                    f"pages of the KV cache cannot be written to the disk of {self._file.folder}:"
                    f" {_reason(error)}"
                )
            return None

    def _has_room(self, n: int) -> bool:
        """Whether so many pages, or as many as can be had, are free or written."""
        pool = self._pool
        return pool.n_idle == pool.n_idle_written or pool.n_free + pool.n_idle_written >= n

    def _wants_to_write(self) -> bool:
        if self._is_closed or time.monotonic() < self._pauses_until:
            return False
        return self._n_wanted > 0 or self._pool.n_free < FREE_ENOUGH * self._pool.max_pages

    @property
    def _may_displace(self) -> bool:
        pool = self._pool
        return pool.n_free + pool.n_idle_written < max(self._n_wanted, ROOM_ENOUGH * pool.max_pages)

    def _tell(self, problem: str) -> None:
        """Keep what has gone wrong for whoever asks, and warn of the first time."""
        is_first, self.problem = not self.problem, problem
        if is_first:
            with suppress(Warning):  # where programs make errors of warnings this must not end an answer
                warnings.warn(f"{problem}; the tokens are evaluated again", RuntimeWarning, stacklevel=2)


def _reason(error: OSError | MemoryError) -> str:
    """What the system says."""
    return getattr(error, "strerror", None) or str(error) or "it gives no memory"


def _serve(writer: weakref.ref[PageWriter], inbox: SimpleQueue[bool]) -> None:
    """The life of the thread, which holds nothing while there is nothing to do."""
    while inbox.get():
        found = writer()
        if found is None:
            return
        found.write_all()
        del found
