"""Guesses of a model: how often they come true by how probable it takes them to be.

A model that guesses is about as often right as it takes itself to be, so its probabilities tell which guesses
are worth a check, and whether another one behind them is worth making.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .drafter import Guess
from .length import Length, best_length
from .success import AnswerSuccess, Kind

PROBABILITIES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
"""Where the kinds of guesses part that differ in how probable their model takes them to be."""


@dataclass(frozen=True)
class Sureness:
    """Of the guesses of a drafter. success: of the answer. seconds: what a run of so many tokens costs."""

    name: str
    success: AnswerSuccess
    seconds: Callable[[int], float | None]

    def observe(self, guess: Guess, before: Guess | None, *, is_right: bool) -> None:
        """Take in whether a guess came true. before: the one before it in its draft, which has."""
        if guess.probability is None:
            return
        self.success.observe(self._kind(guess), guess.probability, is_right)
        if before is not None and before.probability is not None:
            self.success.observe(self._behind(before), before.probability, is_right)

    def wants_more(
        self, guesses: Sequence[Guess], n_tokens: int, guess_seconds: float, progress: float | None = None
    ) -> bool:
        """Whether one more guess behind these promises more tokens per second.

        n_tokens: of the run without guesses. guess_seconds: what each costs. progress: as of `best_length`.
        """
        last = guesses[-1]
        following = self.success.share(self._behind(last), last.probability or 0.0)
        shares = [*self._shares(guesses), following]
        length = best_length(shares, self.seconds, n_tokens, guess_seconds, 1.0, progress)
        return length.n == len(shares)

    def worth_checking(
        self, guesses: Sequence[Guess], n_tokens: int, progress: float | None = None
    ) -> Length:
        """How many of the guesses, which are made, a run of so many tokens without them should check."""
        return best_length(self._shares(guesses), self.seconds, n_tokens, 0.0, 1.0, progress)

    def _shares(self, guesses: Sequence[Guess]) -> list[float]:
        return [self.success.share(self._kind(guess), guess.probability or 0.0) for guess in guesses]

    def _kind(self, guess: Guess) -> Kind:
        """The first guess of a draft, which is made of the model's own state, apart from the others."""
        place = "further" if guess.kind else "first"
        return f"{self.name}, {place}", bisect(PROBABILITIES, guess.probability or 0.0)

    def _behind(self, guess: Guess) -> Kind:
        return f"{self.name}, behind", bisect(PROBABILITIES, guess.probability or 0.0)
