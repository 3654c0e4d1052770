"""What guesses the tokens that follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Guess:
    """A token that may follow. kind: guesses of a drafter that are of one kind come true about as often.

    probability: what a model takes it to be, where one has guessed.
    """

    token: int
    kind: int
    probability: float | None = None


WantsMore = Callable[[Sequence[Guess]], bool]
"""Says whether one more is wanted behind some guesses."""


def wants_all(guesses: Sequence[Guess]) -> bool:
    """Another one is wanted, whatever they are."""
    return True


class Drafter(Protocol):
    """Guesses what follows in one answer.

    name: of its way of guessing, by which its success is counted. costs: whether its guesses take time.
    tells_probability: whether its guesses have one.
    """

    name: str
    costs: bool
    tells_probability: bool

    def begin(self, prompt: Sequence[int]) -> None:
        """Take note of the tokens that the answer continues, which its session has evaluated."""

    def accept(self, token: int) -> None:
        """Take note of the next token of the answer."""

    def next_guess(self) -> tuple[int, int] | None:
        """The token that is guessed next, and the guess's kind; None where there is none.

        Only of drafters whose guesses take no time: each of these is compared with what comes.
        """

    def kinds(self, n_most: int) -> Sequence[int]:
        """Of which kinds the next guesses would be, at most so many; found without any cost."""

    def assumed(self, kind: int) -> float:
        """The share of guesses of a kind that come true, before any was compared with what came."""

    def propose(self, n_most: int, wants_more: WantsMore = wants_all) -> Sequence[Guess]:
        """At most so many guesses, one behind the other. There may be fewer than `kinds` said, or none.

        wants_more: asked behind each guess that takes time, perhaps in another thread.
        """

    def end(self) -> None:
        """Give back what the answer needed; it has ended."""
