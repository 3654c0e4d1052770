"""Nodes of the prefix tree in the order of their last use."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

from .tree_node import Node

_order = itertools.count()


class OldestFirst:
    """Nodes for which something holds, those that were used least recently first.

    A node is put in whenever it may have become such a one. What holds of it no more is passed over.
    """

    def __init__(self, holds: Callable[[Node], bool]) -> None:
        self._holds = holds
        self._heap: list[tuple[int, int, Node]] = []
        self._most = 64

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, node: Node) -> None:
        """Put a node in, if it is such a one."""
        if not self._holds(node):
            return
        if len(self._heap) > self._most:
            current = {id(each[2]): each for each in self._heap if self._is_current(each)}
            self._heap = list(current.values())
            heapq.heapify(self._heap)
            self._most = 2 * len(self._heap) + 64
        heapq.heappush(self._heap, (node.used, next(_order), node))

    def pop(self, before: int | None = None) -> Node | None:
        """Take out the one that was used least recently; None where there is none.

        before: only if that was used earlier.
        """
        while self._heap:
            if not self._is_current(self._heap[0]):
                heapq.heappop(self._heap)
            elif before is not None and self._heap[0][0] >= before:
                return None
            else:
                return heapq.heappop(self._heap)[2]
        return None

    def _is_current(self, entry: tuple[int, int, Node]) -> bool:
        return entry[0] == entry[2].used and self._holds(entry[2])
