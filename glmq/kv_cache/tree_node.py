"""A node of the prefix tree: a page's tokens, and where the page is."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence as Tokens
from operator import attrgetter

from .hidden_states import HiddenStates
from .page_file import Place
from .page_pool import Page

_tokens_of = attrgetter("tokens")


class Node:
    """A page and the tokens in it. No child's tokens begin with all those of another child.

    page: None where it is not in memory; place: None where it is not in the page file. The root, and a node
    that was taken out of the tree, have neither, all others at least one, and what has a page hangs on what
    has one. parent: None of the root and of what was taken out. n_in_memory: children that have a page.
    used: when it was used last, a number that grows. hidden: what the page had of hidden states, while it is
    on the disk alone.
    """

    __slots__ = ("children", "hidden", "n_in_memory", "page", "parent", "place", "tokens", "used")

    def __init__(self, tokens: tuple[int, ...], parent: Node | None) -> None:
        self.tokens = tokens
        self.page: Page | None = None
        self.place: Place | None = None
        self.parent = parent
        self.children: list[Node] = []  # in the order of their tokens
        self.n_in_memory = 0
        self.used = 0
        self.hidden: HiddenStates | None = None

    @property
    def may_leave_memory(self) -> bool:
        """Whether its page is used by nobody, and no page in memory hangs on it."""
        return self.page is not None and not self.n_in_memory and not self.page.n_users

    @property
    def is_unwritten(self) -> bool:
        """Whether its page is used by nobody and is in memory alone."""
        return self.page is not None and self.place is None and not self.page.n_users

    @property
    def is_leaf_on_disk(self) -> bool:
        """Whether its page is on the disk alone, and nothing hangs on it."""
        return self.place is not None and self.page is None and not self.children

    def place_of(self, tokens: tuple[int, ...]) -> int:
        """Where among the children these tokens belong."""
        return bisect_left(self.children, tokens, key=_tokens_of)

    def closest(self, tokens: tuple[int, ...]) -> tuple[Node | None, int]:
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


def common_prefix(a: Tokens[int], b: Tokens[int]) -> int:
    """How many leading tokens two sequences share."""
    n = min(len(a), len(b))
    if a[:n] == b[:n]:
        return n
    return next((i for i in range(n) if a[i] != b[i]), n)
