"""Pages that come back from the page file into memory, for a sequence that wants them.

No lock is held while they are read. A node that has the same place before and after holds what was read,
whatever was done to the tree meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress

from ..errors import OutOfPages
from .page_file import PageFile, Place
from .page_pool import Page
from .prefix_tree import PrefixTree, Writer
from .tree_node import Node

N_READERS = 8
"""Threads that read: while some wait for the disk, others take memory for pages from the system."""

BATCH_BYTES, LEAST_BATCH, MOST_BATCH = 64 << 20, 32, 256
"""Pages that are brought back together: so many bytes, but at least and at most so many pages."""

LOOKS_EVERY = 0.05
"""Seconds between two questions whether the pages are still wanted."""

Outcome = bool | OSError | MemoryError | None
"""Of a read: whether the page is sound, why the system could not read it, or None where nobody tried."""


def bring_back(
    tree: PrefixTree, tokens: Tokens[int], held: list[Page], goes_on: Callable[[], bool] = lambda: True
) -> None:
    """Have in memory the pages that hold the first of some tokens, as far as there is room.

    held: gets these pages in their order, which it holds as a sequence does until the caller drops them.
    goes_on: asked several times a second; when it says no, or a page cannot be read, or the pool has no more,
    the others stay where they are.
    """
    with tree.pool.lock:
        nodes = [node for node, _ in tree.path(tokens)]
        tree.touch(nodes)
        if tree.file is None or tree.writer is None or all(node.page is not None for node in nodes):
            return
        returning = _Return(tree, tree.file, tree.writer, nodes, held, goes_on)
    try:
        while goes_on() and returning.next_batch():
            pass
    except RuntimeError:  # the system gives no threads
        pass
    finally:
        returning.end()


class _Return:
    """The return of a path's pages."""

    def __init__(
        self,
        tree: PrefixTree,
        file: PageFile,
        writer: Writer,
        nodes: list[Node],
        held: list[Page],
        goes_on: Callable[[], bool],
    ) -> None:
        self._tree, self._pool, self._file, self._writer = tree, tree.pool, file, writer
        self._nodes, self._held, self._goes_on = nodes, held, goes_on
        self._batch = max(LEAST_BATCH, min(MOST_BATCH, BATCH_BYTES // file.place_bytes))
        self._fresh: list[Page] = []  # taken of the pool, and not in the tree yet
        self._readers = ThreadPoolExecutor(N_READERS, thread_name_prefix="glmq-page-reader")
        self._stops = threading.Event()

    def next_batch(self) -> bool:
        """Bring the next pages back; whether there may be more."""
        with self._pool.lock:
            wanted = self._next_on_disk()
        if not wanted:
            return False
        self._writer.wait_for_room(len(wanted), self._goes_on)
        with self._pool.lock, suppress(OutOfPages):
            while len(self._fresh) < len(wanted):
                self._fresh.append(self._pool.take())
        outcomes = self._read([place for _, place in wanted])
        with self._pool.lock:
            n, lost = self._hand_over(wanted, outcomes)
            self._pool.drop_all(self._fresh)
        if lost:
            outcome = outcomes[n]
            self._writer.could_not_read(outcome if isinstance(outcome, Exception) else None)
        return n == len(wanted)

    def end(self) -> None:
        """Come back when no reader writes to its page any more, whatever comes meanwhile."""
        self._stops.set()
        interrupted: KeyboardInterrupt | None = None
        while True:
            try:
                self._readers.shutdown()
                break
            except KeyboardInterrupt as error:
                interrupted = error
        with self._pool.lock:
            self._pool.drop_all(self._fresh)
        if interrupted is not None:
            raise interrupted

    def _next_on_disk(self) -> list[tuple[Node, Place]]:
        """The next nodes that are on the disk alone. The pages before them are held from now on."""
        nodes, held = self._nodes, self._held
        while len(held) < len(nodes) and (page := nodes[len(held)].page) is not None:
            self._pool.use(page)
            held.append(page)
        wanted: list[tuple[Node, Place]] = []
        for node in nodes[len(held) : len(held) + self._batch]:
            if node.page is not None or node.place is None:
                break
            wanted.append((node, node.place))
        return wanted

    def _read(self, places: list[Place]) -> list[Outcome]:
        """Read into the fresh pages, as many as there are."""
        reads = [
            self._readers.submit(self._read_one, place, page)
            for place, page in zip(places, self._fresh, strict=False)
        ]
        while wait(reads, LOOKS_EVERY).not_done:
            if not self._goes_on():
                self._stops.set()
        return [read.result() for read in reads]

    def _read_one(self, place: Place, page: Page) -> Outcome:
        if self._stops.is_set():
            return None
        try:
            return self._file.read(place, page.bytes)
        except (OSError, MemoryError) as error:
            return error

    def _hand_over(self, wanted: list[tuple[Node, Place]], outcomes: list[Outcome]) -> tuple[int, bool]:
        """Give the tree what was read, up to the first that is not there.

        Gives how many are, and whether what is not should have been.
        """
        pages = list(self._fresh)
        for n, outcome in enumerate(outcomes):
            (node, place), page = wanted[n], pages[n]
            if outcome is True and self._tree.came_back(node, place, page):
                self._fresh.remove(page)
            elif node.page is not None:  # others have brought it back meanwhile
                page = node.page
                self._pool.use(page)
            else:
                is_lost = outcome not in (True, None) and node.place is place
                if is_lost:
                    self._tree.lost(node)
                return n, is_lost
            self._held.append(page)
        return len(outcomes), False
