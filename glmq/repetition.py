"""Noticing that an answer has come to repeat itself."""

from __future__ import annotations

import numpy as np

LONGEST_PERIOD = 400
"""Tokens of the longest passage whose repetition is noticed."""

LEAST_TIMES, LEAST_TOKENS = 4, 80
"""How often a passage must come in a row, and how many tokens that must be, before it counts as a loop."""


class Repetition:
    """Is given an answer's tokens one by one. looping: whether its end has become a loop.

    A loop is a passage of 1 to 400 tokens that comes at least four times in a row and fills at least 80.
    """

    def __init__(self) -> None:
        self.looping = False
        self._last = np.full(LONGEST_PERIOD, -1, np.int64)
        self._runs = np.zeros(LONGEST_PERIOD, np.int64)  # so many tokens equal those one period before
        periods = np.arange(1, LONGEST_PERIOD + 1)
        self._enough = np.maximum((LEAST_TIMES - 1) * periods, LEAST_TOKENS - periods)

    def accept(self, token: int) -> None:
        """Take note of the next token."""
        self._runs = (self._runs + 1) * (self._last == token)
        self._last = np.roll(self._last, 1)
        self._last[0] = token
        self.looping = bool((self._runs >= self._enough).any())
