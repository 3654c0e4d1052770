"""Pages by the tokens that they hold, so that a sequence finds what others have evaluated before it.

A radix tree over token ids. Each edge stands for the tokens of one page; a page that is not full is a leaf.
Pages that no sequence uses stay here as a prefix cache. When the pool is short, leaves among them leave the
memory, the least recently used first. Those that the page file has stay in the tree (`returning_pages.py`
brings them back), the others are thrown away.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Sequence as Tokens
from typing import Protocol

from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE

from .cache_statistics import CacheStatistics
from .oldest_first import OldestFirst
from .page_file import PageFile, Place
from .page_pool import Page, PagePool
from .tree_node import Node

CLOSING_SECONDS = 1.0
"""How long `close` waits for the lock. It takes longer only in the handler of a signal inside a change."""


class Writer(Protocol):
    """What writes pages to the page file, ahead of need."""

    @property
    def problem(self) -> str:
        """What has gone wrong with the disk last; empty for nothing."""

    def wake(self) -> None:
        """There may be something to write. Called with the pool's lock held."""

    def wait_for_room(self, n: int, goes_on: Callable[[], bool]) -> None:
        """Wait until `n` pages can be taken without one being thrown away, or that will not be soon."""

    def could_not_read(self, error: OSError | MemoryError | None) -> None:
        """A page was damaged (None), or the system could not read it."""

    def close(self) -> None:
        """Write nothing more."""


class PrefixTree:
    """The pages of a pool that can be found by their tokens.

    All methods but `close` and `statistics` are called with the pool's lock held. file: has pages for which
    there is no memory. n_on_disk: pages that it alone has.
    """

    def __init__(self, pool: PagePool, file: PageFile | None = None) -> None:
        self.pool = pool
        pool.prefix_cache = self
        self.file = file
        self.writer: Writer | None = None
        self.n_on_disk = 0
        self._root = Node((), None)
        self._nodes: dict[Page, Node] = {}
        self._written_idle = OldestFirst(lambda node: node.may_leave_memory and node.place is not None)
        self._unwritten_idle = OldestFirst(lambda node: node.may_leave_memory and node.place is None)
        self._to_write = OldestFirst(lambda node: node.is_unwritten)
        self._leaves_on_disk = OldestFirst(lambda node: node.is_leaf_on_disk)
        self._used_again: dict[Node, None] = {}  # in memory and on disk, and used since they were written
        self._clock = itertools.count(1)
        self._n_tokens = self._n_hits = self._n_reclaimed = 0
        self._n_written = self._n_returned = self._n_lost = 0

    def path(self, tokens: Tokens[int]) -> Iterator[tuple[Node, int]]:
        """The nodes that hold the first tokens, wherever their pages are, and how many each holds of them.

        All but the last hold as many as a page has.
        """
        size = POSITIONS_PER_PAGE
        node, n = self._root, 0
        while n < len(tokens):
            child, n_shared = node.closest(tuple(tokens[n : n + size]))
            if child is None:
                return
            yield child, n_shared
            if n_shared < size:
                return
            node, n = child, n + size

    def match(self, tokens: Tokens[int]) -> tuple[list[Page], int]:
        """Pages that hold the first tokens, and how many these are, the longest that are in memory.

        Of the last page perhaps only the first positions are meant.
        """
        pages, n = list[Page](), 0
        for node, n_shared in self.path(tokens):
            if node.page is None:
                break
            pages.append(node.page)
            n += n_shared
        self._n_tokens += len(tokens)
        self._n_hits += n
        return pages, n

    def insert(self, before: Page | None, tokens: tuple[int, ...], page: Page) -> Page | None:
        """Keep a page with its tokens, as many as are in it, behind the page `before` (None: the first).

        Gives the page that the tree now has for these tokens, which is another one when it had one already,
        and `page` where the disk has as much as is in it.
        None when it does not hold `before`, or not as a full page.
        """
        size = POSITIONS_PER_PAGE
        parent = self._root if before is None else self._nodes.get(before)
        if parent is None or (before is not None and len(parent.tokens) < size):
            return None
        known, n_shared = parent.closest(tokens)
        if known is not None and n_shared == len(tokens):
            if known.page is not None:
                return known.page
            if n_shared < size:
                return page
        if known is not None and n_shared == len(known.tokens):
            if n_shared == len(tokens) and page not in self._nodes and self._is_written_as(known, page):
                self._have_in_memory(known, page)
                return page
            self.remove(known)  # it holds less of the same, or other bits, which what hangs on it was made of
        if page in self._nodes:  # under other tokens, whose end this sequence does not share
            return None
        node = Node(tokens, parent)
        parent.children.insert(parent.place_of(tokens), node)
        self._have_in_memory(node, page)
        return page

    def became_idle(self, page: Page) -> None:
        """A kept page has lost its last user."""
        node = self._nodes[page]
        node.used = next(self._clock)
        self._offer(node)
        if node.place is not None:
            self._used_again[node] = None
        elif self.writer is not None:
            self._to_write.add(node)
            self.writer.wake()

    def reclaim(self) -> Page | None:
        """Let go of the idle page that was used least recently; None where there is none.

        One that the page file has goes before those that would be lost.
        """
        node = self._written_idle.pop() or self._unwritten_idle.pop()
        if node is None:
            return None
        if self.writer is not None:
            self.writer.wake()
        page = self._leave_memory(node)
        if node.place is not None:
            self._leaves_on_disk.add(node)
        else:
            self._n_reclaimed += self.remove(node)
        return page

    def forget(self, page: Page) -> None:
        """Let go of a page, and of all that comes behind it."""
        if node := self._nodes.get(page):
            self.remove(node)

    def remove(self, node: Node) -> int:
        """Let go of a node and all that hangs on it; gives how many pages there are no more."""
        below = [node]
        for each in below:
            below.extend(each.children)
        for each in reversed(below):
            self._unlink(each)
        return len(below)

    def clear(self) -> None:
        """Let go of all pages."""
        for node in list(self._root.children):
            self.remove(node)

    def close(self) -> None:
        """Let go of all pages; where somebody holds the lock for long, when the next page is taken."""
        if self.pool.lock.acquire(timeout=CLOSING_SECONDS):
            self.pool.lock.release()
        self.pool.change_when_free(self.clear)
        if self.writer is not None:
            self.writer.close()
        if self.file is not None:
            self.file.close()

    def touch(self, nodes: Iterable[Node]) -> None:
        """Take note that pages on the disk are wanted, so that these are not the ones that go from there."""
        for node in nodes:
            if node.page is None:
                node.used = next(self._clock)
                self._leaves_on_disk.add(node)

    def came_back(self, node: Node, place: Place, page: Page) -> bool:
        """A sequence's page holds what stood in a place. False where the node is not what it was before."""
        if node.place is not place or node.page is not None:
            return False
        parent = node.parent
        if parent is None or (parent is not self._root and parent.page is None):
            return False
        page.hidden, node.hidden = node.hidden, None
        self._have_in_memory(node, page)
        self._n_returned += 1
        return True

    def lost(self, node: Node) -> None:
        """A page cannot be read, and so all that hangs on it is worth nothing."""
        self._n_lost += self.remove(node)

    def next_to_write(self, *, displaces: bool) -> tuple[Node, Page, int] | None:
        """The idle page that leaves memory first among those that the file has not, and a place for it.

        displaces: whether a page may go for it that is on the disk alone and was used less recently. None
        where there is no page, or no place.
        """
        node = self._to_write.pop()
        if node is None:
            return None
        assert node.page is not None, "it is to be written"
        number = self._free_place(node.used if displaces else 0)
        if number is None:
            self._to_write.add(node)
            return None
        return node, node.page, number

    def written(self, node: Node, page: Page, number: int, place: Place | None) -> None:
        """A page was written to a place, or that has failed (None)."""
        assert self.file is not None
        if place is None or node.page is not page:
            self.file.give_back(number)
            self._to_write.add(node)
            return
        node.place = place
        self.pool.note_written(page, True)
        self._n_written += 1
        self._offer(node)

    def statistics(self) -> CacheStatistics:
        """Counts, now."""
        pool, file = self.pool, self.file
        with pool.lock:
            pool.settle()
            return CacheStatistics(
                n_pages=pool.max_pages,
                page_positions=POSITIONS_PER_PAGE,
                page_bytes=pool.shape.page_bytes,
                n_used=pool.n_used,
                n_cached=len(self._nodes),
                n_idle=pool.n_idle,
                n_bytes=pool.n_bytes,
                n_tokens=self._n_tokens,
                n_hits=self._n_hits,
                n_reclaimed=self._n_reclaimed,
                n_on_disk=self.n_on_disk,
                disk_bytes=0 if file is None else file.n_bytes,
                max_disk_bytes=0 if file is None else file.max_bytes,
                n_written=self._n_written,
                n_returned=self._n_returned,
                n_lost=self._n_lost,
                disk_problem="" if self.writer is None else self.writer.problem,
            )

    def _free_place(self, before: int) -> int | None:
        """A place in the file, if need be that of a page that is in memory too, or of one that then goes.

        before: such a one was used earlier.
        """
        assert self.file is not None
        number = self.file.take()
        while number is None and self._used_again:
            node = next(iter(self._used_again))
            self._give_up_place(node)
            self._to_write.add(node)
            self._offer(node)
            number = self.file.take()
        if number is None and (leaf := self._leaves_on_disk.pop(before)):
            self._n_reclaimed += self.remove(leaf)
            number = self.file.take()
        return number

    def _is_written_as(self, node: Node, page: Page) -> bool:
        """Whether the file has a node with the bits that are in a page."""
        return self.file is not None and node.place is not None and self.file.holds(node.place, page.bytes)

    def _have_in_memory(self, node: Node, page: Page) -> None:
        assert node.parent is not None
        node.page = page
        node.parent.n_in_memory += 1
        self._nodes[page] = node
        self.pool.keep(page)
        if node.place is not None:
            self.n_on_disk -= 1
            self.pool.note_written(page, True)
            self._used_again[node] = None

    def _leave_memory(self, node: Node) -> Page:
        """Take a node's page from it, which is the caller's."""
        page, parent = node.page, node.parent
        assert page is not None and parent is not None
        node.page, node.hidden = None, page.hidden
        parent.n_in_memory -= 1
        del self._nodes[page]
        self._used_again.pop(node, None)
        self.n_on_disk += node.place is not None
        self._offer(parent)
        return page

    def _give_up_place(self, node: Node) -> None:
        assert node.place is not None and self.file is not None
        self.file.give_back(node.place.number)
        node.place = None
        self._used_again.pop(node, None)
        if node.page is not None:
            self.pool.note_written(node.page, False)
        else:
            self.n_on_disk -= 1

    def _offer(self, node: Node) -> None:
        """A node may have become one that can leave memory."""
        (self._unwritten_idle if node.place is None else self._written_idle).add(node)

    def _unlink(self, node: Node) -> None:
        """Take a leaf out of the tree, and let go of what it has."""
        parent = node.parent
        assert parent is not None and not node.children
        if node.place is not None:
            self._give_up_place(node)
        page = None if node.page is None else self._leave_memory(node)
        del parent.children[parent.place_of(node.tokens)]
        node.parent = None
        self._leaves_on_disk.add(parent)
        if page is not None:
            self.pool.let_go(page)
