"""What steps cost on this machine, learned from those that were run."""

from __future__ import annotations

import math

from .row_costs import RowCosts

WEIGHT = 0.3
"""Of the newest measurement, in the running mean of a size."""

MOST_RISE = 2.0
"""A measurement counts as at most so many times the mean: the first run waits for the disk, or another
program took the processor."""


class SizeCosts:
    """Seconds that n tokens take together: a running mean for each power of two, others in proportion."""

    def __init__(self) -> None:
        self._seconds: dict[int, float] = {}

    def observe(self, n_tokens: int, seconds: float) -> None:
        """Take in a measurement."""
        size = _nearest_power(n_tokens)
        seconds *= size / n_tokens
        known = self._seconds.get(size)
        if known is None or seconds < known / MOST_RISE:
            self._seconds[size] = seconds
        else:
            self._seconds[size] = known + WEIGHT * (min(seconds, MOST_RISE * known) - known)

    def estimate(self, n_tokens: int) -> float | None:
        """Seconds for `n_tokens`; None before anything was measured.

        From a smaller size in proportion, which is too much rather than too little. From a larger one alone,
        as if half of its time did not depend on the number of tokens.
        """
        if not self._seconds or n_tokens < 1:
            return None if n_tokens else 0.0
        size = _nearest_power(n_tokens)
        smaller = max((known for known in self._seconds if known <= size), default=None)
        if smaller is not None:
            return self._seconds[smaller] * n_tokens / smaller
        larger = min(self._seconds)
        return self._seconds[larger] * (0.5 + 0.5 * n_tokens / larger)

    @property
    def largest(self) -> int:
        """The largest size that has been measured, 0 when none has."""
        return max(self._seconds, default=0)

    @property
    def best_speed(self) -> float:
        """The most tokens per second of all sizes measured, 0 when none has been."""
        return max((size / seconds for size, seconds in self._seconds.items() if seconds), default=0.0)


class StepCosts:
    """Seconds of steps, by the tokens that decode and the tokens of prompts in them."""

    def __init__(self) -> None:
        self.decode, self.prompt = RowCosts(), SizeCosts()

    def observe(self, n_decode: int, n_prompt: int, seconds: float) -> None:
        """Take in how long a step took."""
        if not n_prompt:
            self.decode.observe(n_decode, seconds)
            return
        decode = self.decode.estimate(n_decode) or 0.0
        self.prompt.observe(n_prompt, max(seconds - decode, seconds / 20))

    def estimate(self, n_decode: int, n_prompt: int) -> float | None:
        """Seconds of such a step; None where one of the two has never been measured."""
        parts = self.decode.estimate(n_decode), self.prompt.estimate(n_prompt)
        return None if None in parts else sum(part for part in parts if part is not None)


def _nearest_power(n: int) -> int:
    return 1 << round(math.log2(n))
