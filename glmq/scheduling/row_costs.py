"""What steps cost that decode a few tokens, by the exact number of these tokens."""

from __future__ import annotations

from bisect import bisect_left, insort

MOST_ROWS = 64
"""Larger steps count as so many tokens, in proportion."""

WEIGHT = 0.1
"""Of the newest measurement in a running mean, once there are many."""

MOST_RISE = 1.5
"""A measurement counts as at most so many times the mean: another program took the processor."""

FURTHER = 0.4
"""What a further token is taken to cost, of the first, before that was measured."""


class RowCosts:
    """Seconds of steps by their tokens, all of the row form: a running mean for each number.

    What such a step costs depends on the weights that its tokens share, so it is far from proportional, and
    with experts on disk it is the disk that decides. Written by one thread, read by any.
    """

    def __init__(self) -> None:
        self._seconds = [0.0] * (MOST_ROWS + 1)
        self._n_measured = [0] * (MOST_ROWS + 1)
        self._sizes: list[int] = []  # that were measured, in order

    def observe(self, n_rows: int, seconds: float) -> None:
        """Take in a measurement."""
        if n_rows > MOST_ROWS:
            n_rows, seconds = MOST_ROWS, seconds * MOST_ROWS / n_rows
        known, n = self._seconds[n_rows], self._n_measured[n_rows]
        if not n or (n == 1 and seconds < known):  # the first step of a kind waits for caches
            self._seconds[n_rows] = seconds
            if not n:
                insort(self._sizes, n_rows)
        else:
            weight = max(WEIGHT, 1 / (n + 1))
            self._seconds[n_rows] = known + weight * (min(seconds, MOST_RISE * known) - known)
        self._n_measured[n_rows] = n + 1

    def estimate(self, n_rows: int) -> float | None:
        """Seconds of a step of so many tokens; None before anything was measured.

        Between two numbers that were measured on the line between them, beyond them with their slope.
        """
        if n_rows < 1 or not self._sizes:
            return None if n_rows else 0.0
        sizes, seconds = self._sizes, self._seconds
        i = bisect_left(sizes, n_rows)
        first, last = sizes[0], sizes[-1]
        if i == 0:
            return seconds[first] * (1 + FURTHER * (n_rows - 1)) / (1 + FURTHER * (first - 1))
        if i < len(sizes):
            below, above = sizes[i - 1], sizes[i]
            return seconds[below] + (seconds[above] - seconds[below]) * (n_rows - below) / (above - below)
        one = seconds[first] / (1 + FURTHER * (first - 1))
        slope = (seconds[last] - seconds[first]) / (last - first) if last > first else FURTHER * one
        return seconds[last] + max(slope, 0.0) * (n_rows - last)

    def n_measured(self, n_rows: int) -> int:
        """How often steps of so many tokens were measured."""
        return self._n_measured[min(n_rows, MOST_ROWS)]
