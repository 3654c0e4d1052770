"""Pages by the tokens that they hold, so that a sequence finds what others have evaluated before it.

A radix tree over token ids. Each edge stands for the tokens of one page; a page that is not full is a leaf.
Pages that no sequence uses stay here as a prefix cache. When the pool is short, leaves among them go, the
least recently used first.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_left
from collections.abc import Sequence as Tokens
from dataclasses import dataclass
from operator import attrgetter

from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE

from ..memory_plan import show_size
from .page_pool import Page, PagePool

CLOSING_SECONDS = 1.0
"""How long `close` waits for the lock. It takes longer only in the handler of a signal inside a change."""

_tokens_of = attrgetter("tokens")


@dataclass(frozen=True)
class CacheStatistics:
    """What the pages of a model's KV cache are doing, and how often the prefix tree helped.

    n_pages: the most there may be, each of `page_positions` positions and `page_bytes` bytes. n_used: held
    by sequences. n_cached: held by the prefix tree, n_idle of them by nothing else. n_bytes: memory taken
    from the system. n_tokens: those that sequences asked the tree for; n_hits: of these found.
    n_reclaimed: cached pages that had to go.
    """

    n_pages: int
    page_positions: int
    page_bytes: int
    n_used: int
    n_cached: int
    n_idle: int
    n_bytes: int
    n_tokens: int
    n_hits: int
    n_reclaimed: int

    def line(self) -> str:
        """For people to read."""
        used, idle, most = (show_size(n * self.page_bytes) for n in (self.n_used, self.n_idle, self.n_pages))
        found = f"; {self.n_hits:,} of {self.n_tokens:,} tokens were found in it" if self.n_tokens else ""
        return f"KV cache: {used} in use and {idle} kept for later, of at most {most}{found}."


class _Node:
    """A page and the tokens in it. No child's tokens begin with all those of another child.

    used: when it was used last, a number that grows.
    """

    __slots__ = ("children", "page", "parent", "tokens", "used")

    def __init__(self, tokens: tuple[int, ...], page: Page | None, parent: _Node | None) -> None:
        self.tokens = tokens
        self.page = page
        self.parent = parent
        self.children: list[_Node] = []  # in the order of their tokens
        self.used = 0

    def place_of(self, tokens: tuple[int, ...]) -> int:
        """Where among the children these tokens belong."""
        return bisect_left(self.children, tokens, key=_tokens_of)

    def closest(self, tokens: tuple[int, ...]) -> tuple[_Node | None, int]:
        """The child that shares most leading tokens, and how many; (None, 0) where none shares any.

        In their order it stands beside where the tokens belong.
        """
        place = self.place_of(tokens)
        best, most = None, 0
        for child in self.children[max(0, place - 1) : place + 1]:
            n = common_prefix(child.tokens, tokens)
            if n > most:
                best, most = child, n
        return best, most


class PrefixTree:
    """The pages of a pool that can be found by their tokens.

    All methods but `close` and `statistics` are called with the pool's lock held.
    """

    def __init__(self, pool: PagePool) -> None:
        self.pool = pool
        pool.prefix_cache = self
        self._root = _Node((), None, None)
        self._nodes: dict[Page, _Node] = {}
        self._idle: list[tuple[int, int, _Node]] = []  # a heap; some of it may be out of date
        self._clock = itertools.count(1)
        self._n_tokens = self._n_hits = self._n_reclaimed = 0

    def match(self, tokens: Tokens[int]) -> tuple[list[Page], int]:
        """Pages that hold the first tokens, and how many these are, the longest that are known.

        Of the last page perhaps only the first positions are meant.
        """
        size = POSITIONS_PER_PAGE
        node, pages, n = self._root, list[Page](), 0
        while n < len(tokens):
            child, n_shared = node.closest(tuple(tokens[n : n + size]))
            if child is None:
                break
            assert child.page is not None, "only the root has none"
            pages.append(child.page)
            n += n_shared
            if n_shared < size:
                break
            node = child
        self._n_tokens += len(tokens)
        self._n_hits += n
        return pages, n

    def insert(self, before: Page | None, tokens: tuple[int, ...], page: Page) -> Page | None:
        """Keep a page with its tokens, as many as are in it, behind the page `before` (None: the first).

        Gives the page that the tree now has for these tokens, which is another one when it had one already.
        None when it does not hold `before`, or not as a full page.
        """
        size = POSITIONS_PER_PAGE
        parent = self._root if before is None else self._nodes.get(before)
        if parent is None or (before is not None and len(parent.tokens) < size):
            return None
        known, n_shared = parent.closest(tokens)
        if known is not None and n_shared == len(tokens):
            return known.page
        if known is not None and n_shared == len(known.tokens):
            self._remove(known)  # it holds less of the same
        if page in self._nodes:  # under other tokens, whose end this sequence does not share
            return None
        node = _Node(tokens, page, parent)
        parent.children.insert(parent.place_of(tokens), node)
        self._nodes[page] = node
        self.pool.keep(page)
        return page

    def became_idle(self, page: Page) -> None:
        """A kept page has lost its last user."""
        node = self._nodes[page]
        node.used = next(self._clock)
        self._offer(node)

    def reclaim(self) -> Page | None:
        """Let go of the idle page that was used least recently; None where there is none."""
        while self._idle:
            used, _, node = heapq.heappop(self._idle)
            page = node.page
            if page is not None and used == node.used and self._may_go(node):
                self._unlink(node)
                self._n_reclaimed += 1
                return page
        return None

    def forget(self, page: Page) -> None:
        """Let go of a page, and of all that comes behind it."""
        if node := self._nodes.get(page):
            self._remove(node)

    def clear(self) -> None:
        """Let go of all pages."""
        for node in list(self._root.children):
            self._remove(node)

    def close(self) -> None:
        """Let go of all pages; where somebody holds the lock for long, when the next page is taken."""
        if self.pool.lock.acquire(timeout=CLOSING_SECONDS):
            self.pool.lock.release()
        self.pool.change_when_free(self.clear)

    def statistics(self) -> CacheStatistics:
        """Counts, now."""
        pool = self.pool
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
            )

    def _may_go(self, node: _Node) -> bool:
        return not node.children and node.page is not None and not node.page.n_users

    def _offer(self, node: _Node) -> None:
        """A node may have become one that can go."""
        if not self._may_go(node):
            return
        if len(self._idle) > 2 * len(self._nodes) + 64:
            self._idle = [
                (each.used, i, each) for i, each in enumerate(self._nodes.values()) if self._may_go(each)
            ]
            heapq.heapify(self._idle)
        heapq.heappush(self._idle, (node.used, next(self._clock), node))

    def _unlink(self, node: _Node) -> None:
        """Take a leaf out of the tree; its page is the caller's."""
        parent, page = node.parent, node.page
        assert parent is not None and page is not None and not node.children
        del parent.children[parent.place_of(node.tokens)]
        del self._nodes[page]
        node.page = None
        self._offer(parent)

    def _remove(self, node: _Node) -> None:
        """Let go of a node and all that is below it."""
        below = [node]
        for each in below:
            below.extend(each.children)
        for each in reversed(below):
            page = each.page
            self._unlink(each)
            if page is not None:
                self.pool.let_go(page)


def common_prefix(a: Tokens[int], b: Tokens[int]) -> int:
    """How many leading tokens two sequences share."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next((i for i in range(n) if a[i] != b[i]), n)
