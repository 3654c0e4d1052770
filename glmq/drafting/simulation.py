"""Guesses that come true as often as somebody says, to see what that would gain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..draft_head import LAST, LEAST_ROWS
from .drafter import Drafter, Guess, WantsMore, wants_all


class FrequentTokens:
    """A guide: only the first tokens of a vocabulary follow, the frequent ones.

    Random weights write any token as readily, which no text does, and a head for drafts has none of them.
    """

    @property
    def finished(self) -> bool:
        """Never."""
        return False

    def forced(self) -> Sequence[int]:
        """None."""
        return ()

    def mask(self, logits: np.ndarray) -> None:
        """Leave the first tokens."""
        logits[LEAST_ROWS - LAST :] = -np.inf

    def accept(self, token: int) -> None:
        """Every token is followed by the same ones."""


@dataclass(frozen=True)
class Simulation:
    """tokens: what the answer will be. acceptance: the share of guesses that come true, 0 to 1.

    seed: chooses which ones.
    """

    tokens: Sequence[int]
    acceptance: float
    seed: int = 0


class SimulatedDrafter:
    """Guesses the answer's own tokens, or wrong ones. inner: guesses too, so that its time is taken."""

    name = "simulation"
    tells_probability = False

    def __init__(self, simulation: Simulation, inner: Drafter | None) -> None:
        self._simulation, self._inner = simulation, inner
        self.costs = inner is not None
        self._place = 0
        self._random = np.random.default_rng(simulation.seed)

    def begin(self, prompt: Sequence[int]) -> None:
        """Begin with the first token."""
        if self._inner is not None:
            self._inner.begin(prompt)

    def accept(self, token: int) -> None:
        """Go on."""
        self._place += 1
        if self._inner is not None:
            self._inner.accept(token)

    def next_guess(self) -> tuple[int, int] | None:
        """None: what comes true is known."""
        return None

    def kinds(self, n_most: int) -> Sequence[int]:
        """One kind, as long as the answer is."""
        return [0] * max(0, min(n_most, len(self._simulation.tokens) - self._place))

    def assumed(self, kind: int) -> float:
        """What was said."""
        return self._simulation.acceptance

    def propose(self, n_most: int, wants_more: WantsMore = wants_all) -> Sequence[Guess]:
        """As many guesses as `inner` has, or as there are."""
        if self._inner is not None:
            n_most = len(self._inner.propose(n_most))
        following = self._simulation.tokens[self._place : self._place + n_most]
        are_right = self._random.random(len(following)) < self._simulation.acceptance
        return [
            Guess(token if is_right else _other(token), 0)
            for token, is_right in zip(following, are_right, strict=True)
        ]

    def end(self) -> None:
        """End the other's guessing."""
        if self._inner is not None:
            self._inner.end()


def _other(token: int) -> int:
    return token - 1 if token else 1
