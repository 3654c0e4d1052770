"""Mirostat 2 (Basu et al. 2021, arXiv 2007.14966, algorithm 2): text of a surprise that stays the same."""

from __future__ import annotations

import numpy as np

from .candidates import Candidates


class Mirostat:
    """Keeps the surprise of drawn tokens near `tau` bits. limit: bits that a token's surprise may have."""

    def __init__(self, tau: float, eta: float) -> None:
        self._tau, self._eta = np.float32(tau), np.float32(eta)
        self.limit = 2 * self._tau

    def apply(self, candidates: Candidates) -> Candidates:
        """Those whose surprise is within the limit, or the likeliest alone."""
        with np.errstate(divide="ignore"):
            surprise = -np.log2(candidates.probabilities())
        within = surprise <= self.limit
        if not within.any():
            return candidates.best()
        return candidates.keep(within)

    def observe(self, probability: float) -> None:
        """Correct the limit by the token drawn, of this probability among those of `apply`."""
        surprise = -np.log2(np.float32(probability))
        self.limit -= self._eta * (surprise - self._tau)
