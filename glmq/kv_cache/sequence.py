"""A sequence: its tokens, and the pages of the KV cache that hold what is kept of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from collections.abc import Sequence as Tokens
from functools import partial

import numpy as np
from glmq_kernels.arrays import zeros
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE, CacheShape

from ..errors import ContextFull, OutOfPages
from .hidden_states import HiddenStates
from .page_copy import copy_positions
from .page_pool import Page, PagePool
from .prefix_tree import PrefixTree
from .returning_pages import bring_back
from .tree_node import common_prefix

FIRST_TABLE = 8
"""Entries of a page table to begin with."""


class Sequence:
    """Tokens that are evaluated, with their pages. It grows by `reserve`, a run, and `extend`.

    Pages may belong to other sequences and the prefix tree too; before a run writes to the last one it is
    copied. Used by one thread at a time; what it shares with others is protected by the pool's lock. Whoever
    lets go of a sequence without `release` gives its pages back too.

    tokens: those whose keys and values the pages hold. To be changed by the methods here only. hidden: the
    trunk's hidden states of the last of them, where these are kept and known.
    """

    def __init__(self, tree: PrefixTree) -> None:
        self.tokens: list[int] = []
        self.hidden: HiddenStates | None = None
        self._tree, self._pool = tree, tree.pool
        self._pages: list[Page] = []
        self._table = zeros(FIRST_TABLE, np.int64)
        self._n_published = 0  # the first so many pages are those of the prefix tree
        self._is_private = False  # its pages differ from those that the tree has for these tokens
        weakref.finalize(self, _abandon, self._pool, self._pages).atexit = False

    @property
    def pages(self) -> Tokens[Page]:
        """The pages, of `POSITIONS_PER_PAGE` positions each; the last ones may be reserved and not filled."""
        return self._pages

    @property
    def shape(self) -> CacheShape:
        """What a page holds of each position."""
        return self._pool.shape

    @property
    def page_table(self) -> np.ndarray:
        """Address of each page, int64; another array when the sequence has grown."""
        return self._table

    def n_new_pages(self, n: int) -> int:
        """Pages of the pool that `reserve(n)` would take."""
        n_wanted = self._pool.shape.n_pages(len(self.tokens) + n)
        must_copy = n > 0 and len(self.tokens) % POSITIONS_PER_PAGE and self._pages[self._n_full].is_shared
        return max(0, n_wanted - len(self._pages)) + bool(must_copy)

    def wait_for_room(self, n: int, goes_on: Callable[[], bool] = lambda: True) -> None:
        """Wait, some seconds at most, until `reserve(n)` would have no pages thrown away.

        Only where these can go to the disk. Asks `goes_on` meanwhile.
        """
        writer, n_new = self._tree.writer, self.n_new_pages(n)
        if writer is not None and n_new:
            writer.wait_for_room(n_new, goes_on)

    def reserve(self, n: int) -> None:
        """Have room for `n` more tokens, in pages that nobody else reads.

        Pages that nobody uses go from the prefix tree for it, if need be. Raises OutOfPages when there are
        too few, and ContextFull when there would be even without other sequences; nothing is changed then.
        """
        with self._pool.lock:
            taken: list[Page] = []
            n_wanted = self._pool.shape.n_pages(len(self.tokens) + n)
            if n_wanted > self._pool.max_pages:
                n_tokens, most = len(self.tokens) + n, self._pool.max_pages * POSITIONS_PER_PAGE
                raise ContextFull(
                    f"{n_tokens} tokens do not fit into the KV cache, which has memory for {most};"
                    " give the model more",
                    n_tokens=n_tokens,
                    n_ctx=most,
                    setting="ram",
                )
            try:
                while len(self._pages) + len(taken) < n_wanted:
                    taken.append(self._pool.take())
                if n:
                    self._make_last_writable()
            except BaseException:
                self._pool.drop_all(taken)
                raise
            self._append(taken)

    def extend(self, tokens: Tokens[int]) -> None:
        """Append tokens whose keys and values a run has written to the reserved pages."""
        assert len(self.tokens) + len(tokens) <= len(self._pages) * POSITIONS_PER_PAGE, "reserve room first"
        self.tokens.extend(tokens)

    def rewind(self, n: int, *, unpublish: bool = False) -> None:
        """Keep the first `n` tokens and give back the pages of the rest.

        unpublish: the prefix tree forgets them too.
        """
        if not 0 <= n <= len(self.tokens):
            raise ValueError(f"cannot rewind {len(self.tokens)} tokens to {n}")
        with self._pool.lock:
            if unpublish:
                for page in self._pages[n // POSITIONS_PER_PAGE :]:
                    self._tree.forget(page)
            self._rewind(n)

    def adopt(self, tokens: Tokens[int], *, goes_on: Callable[[], bool] = lambda: True) -> int:
        """Hold as many leading tokens of these as it or the prefix tree has pages of; gives how many.

        Tokens of its own that differ are forgotten. Pages that are on the disk come back for it, as far as
        there is room, and as long as `goes_on` says so.
        """
        held: list[Page] = []
        try:
            with self._pool.lock:
                self._rewind(n_own := common_prefix(self.tokens, tokens))
                wants_more = n_own < len(tokens) and not (self._is_private and n_own)
            if wants_more and self._tree.n_on_disk:
                bring_back(self._tree, tokens, held, goes_on)
            with self._pool.lock:
                if wants_more:
                    pages, n = self._tree.match(tokens)
                    if n > n_own:
                        self._take_over(pages, tokens[:n])
                return len(self.tokens)
        finally:
            if held:
                with self._pool.lock:
                    self._pool.drop_all(held)

    def publish(self, *, partly: bool = False, exact: bool = False) -> None:
        """Let other sequences find the full pages in the prefix tree.

        partly: the last page too, as far as it is filled; this sequence copies it if it goes on. Where the
        tree has pages of the same tokens they take the place of those here, which go back to the pool.
        exact: only if they are the same to the last bit.
        """
        with self._pool.lock:
            self._publish(partly, exact)

    def keep_private(self) -> None:
        """Publish nothing more of what it holds now, until it has been rewound to nothing."""
        self._is_private = bool(self.tokens)

    def fork(self) -> Sequence:
        """Another sequence that holds the same tokens, in the same pages."""
        other = Sequence(self._tree)
        with self._pool.lock:
            other._take_over(self._pages[: self._pool.shape.n_pages(len(self.tokens))], self.tokens)
            other._n_published, other._is_private = self._n_published, self._is_private
            other.hidden = self.hidden
        return other

    def release(self, *, publish: bool = True) -> None:
        """Give all pages back and be empty.

        publish: the prefix tree keeps them while there is room.
        """
        with self._pool.lock:
            if publish:
                self._publish(partly=True, exact=False)
            self._rewind(0)

    @property
    def _n_full(self) -> int:
        """Pages that are filled."""
        return len(self.tokens) // POSITIONS_PER_PAGE

    def _rewind(self, n: int) -> None:
        del self.tokens[n:]
        if self.hidden is not None:
            self.hidden = self.hidden.before(n)
        kept = self._pool.shape.n_pages(n)
        while len(self._pages) > kept:
            self._pool.drop(self._pages.pop())
        self._n_published = min(self._n_published, n // POSITIONS_PER_PAGE)
        self._is_private = self._is_private and n > 0

    def _take_over(self, pages: Tokens[Page], tokens: Tokens[int]) -> None:
        """Hold these pages and tokens instead of what it holds."""
        for page in pages:
            self._pool.use(page)
        self._rewind(0)
        self._append(pages)
        self.tokens.extend(tokens)
        self._n_published = self._n_full
        self.hidden = None if not pages or pages[-1].hidden is None else pages[-1].hidden.before(len(tokens))

    def _append(self, pages: Tokens[Page]) -> None:
        n = len(self._pages)
        self._pages.extend(pages)
        if len(self._pages) > len(self._table):
            table = zeros(2 * len(self._pages), np.int64)
            table[:n] = self._table[:n]
            self._table = table
        self._table[n : len(self._pages)] = [page.address for page in pages]

    def _replace(self, i: int, page: Page) -> None:
        """Hold another page, which is used for it already, instead of the i-th."""
        old, self._pages[i] = self._pages[i], page
        self._table[i] = page.address
        self._pool.drop(old)

    def _make_last_writable(self) -> None:
        """Have the page that is written next, if it is filled in part, for itself alone."""
        n_filled = len(self.tokens) % POSITIONS_PER_PAGE
        if not n_filled or not self._pages[self._n_full].is_shared:
            return
        shared = self._pages[self._n_full]
        try:
            own = self._pool.take()
        except OutOfPages:
            if shared.n_users > 1:
                raise
            self._tree.forget(shared)
            return
        copy_positions(self._pool.shape, shared.bytes, own.bytes, n_filled)
        self._replace(self._n_full, own)

    def _last_states(self) -> HiddenStates | None:
        """What others need to go on from behind the last token as this sequence would."""
        hidden = self.hidden
        return hidden.needed() if hidden is not None and hidden.end == len(self.tokens) else None

    def _are_equal(self, a: Page, b: Page) -> bool:
        """Whether all that the trunk reads of two pages is the same."""
        n = self._pool.shape.trunk.page_bytes
        return np.array_equal(a.bytes[:n], b.bytes[:n])

    def _publish(self, partly: bool, exact: bool) -> None:
        n_pages = self._pool.shape.n_pages(len(self.tokens)) if partly else self._n_full
        while self._n_published < n_pages and not self._is_private:
            i, page = self._n_published, self._pages[self._n_published]
            first = i * POSITIONS_PER_PAGE
            tokens = tuple(self.tokens[first : first + POSITIONS_PER_PAGE])
            known = self._tree.insert(self._pages[i - 1] if i else None, tokens, page)
            if known is None and i:  # the tree has let go of the page before
                self._n_published = 0
                continue
            is_full = len(tokens) == POSITIONS_PER_PAGE
            if known is page:
                page.hidden = None if is_full else self._last_states()
            if not is_full:
                break
            if known is None or (exact and known is not page and not self._are_equal(known, page)):
                self._is_private = True
            elif known is not page:
                self._pool.use(known)
                self._replace(i, known)
            self._n_published = i + 1


def _abandon(pool: PagePool, pages: list[Page]) -> None:
    """Give the pages of a sequence back that nobody has any more."""
    if pages:
        pool.change_when_free(partial(pool.drop_all, pages))
