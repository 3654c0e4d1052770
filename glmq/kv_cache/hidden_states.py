"""The trunk's last hidden states of a sequence, which multi-token prediction goes on from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ROOM = 64
"""Rows of a buffer behind those that it is made with."""


class _Buffer:
    """Memory for states of one sequence, and perhaps of its forks: rows are added and never changed.

    rows: float32 (n, hidden size), of which the first `n_filled` are states.
    """

    __slots__ = ("n_filled", "rows")

    def __init__(self, states: np.ndarray) -> None:
        self.rows = np.empty((len(states) + ROOM, states.shape[1]), np.float32)
        self.n_filled = 0
        self.add(states)

    def add(self, states: np.ndarray) -> None:
        """Put states behind those that are there."""
        last = self.n_filled + len(states)
        self.rows[self.n_filled : last] = states
        self.n_filled = last


@dataclass(frozen=True, slots=True)
class HiddenStates:
    """Final-normed hidden states of tokens that follow each other, float32 (n, hidden size).

    position: of the first. n_behind: of the last so many tokens the layer has no keys and values yet; the
    state before the first of them is among the rows too.
    """

    position: int
    rows: np.ndarray
    n_behind: int = 0
    _buffer: _Buffer | None = None  # which begins with the rows

    @property
    def end(self) -> int:
        """The position behind the last."""
        return self.position + len(self.rows)

    def at(self, position: int) -> np.ndarray | None:
        """That of a position, float32 (hidden size,); None where it is not known."""
        place = position - self.position
        return self.rows[place] if 0 <= place < len(self.rows) else None

    def before(self, position: int) -> HiddenStates:
        """Those before a position, perhaps none."""
        if position >= self.end:
            return self
        rows = self.rows[: max(0, position - self.position)]
        n_cut = len(self.rows) - len(rows)
        return HiddenStates(self.position, rows, max(0, self.n_behind - n_cut), self._buffer)

    def followed_by(self, states: np.ndarray) -> HiddenStates:
        """These with more behind them, float32 (m, hidden size), whose tokens the layer lacks as well.

        Those that nobody needs may be left out.
        """
        n, n_behind, buffer = len(self.rows), self.n_behind + len(states), self._buffer
        if buffer is not None and buffer.n_filled == n and n + len(states) <= len(buffer.rows):
            buffer.add(states)
            return HiddenStates(self.position, buffer.rows[: n + len(states)], n_behind, buffer)
        buffer = _Buffer(np.vstack((self.rows[n - self.n_behind - 1 :], states)))
        return HiddenStates(self.end - self.n_behind - 1, buffer.rows[: buffer.n_filled], n_behind, buffer)

    def caught_up(self) -> HiddenStates:
        """The same where the layer has keys and values of all."""
        return HiddenStates(self.position, self.rows, 0, self._buffer)

    def needed(self) -> HiddenStates:
        """A copy of those alone that tell what the layer lacks, and of the last."""
        rows = self.rows[len(self.rows) - self.n_behind - 1 :].copy()
        return HiddenStates(self.end - len(rows), rows, self.n_behind)
