"""How many guesses are worth checking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

WORTH = 1.08
"""How many times as fast a draft must promise to be: promises are uncertain."""


@dataclass(frozen=True, slots=True)
class Length:
    """A number of guesses, and how many times as fast as without any they promise to be.

    promised: how many of them will probably come true.
    """

    n: int = 0
    gain: float = 1.0
    promised: float = 0.0


def best_length(
    shares: Sequence[float],
    seconds: Callable[[int], float | None],
    n_tokens: int,
    guess_seconds: float = 0.0,
    least_gain: float = WORTH,
    progress: float | None = None,
) -> Length:
    """The number of guesses that promises the most tokens per second; 0 where none is worth it.

    shares: how likely each guess is to come true where those before it have. seconds: what a run of so many
    tokens costs, None where nobody knows. n_tokens: those in the run without guesses, of all its sequences.
    guess_seconds: what each guess costs, 0 where it is made. least_gain: for which a draft is worth it.
    progress: by how many tokens all sequences of the run grow without these guesses; by default by each of
    its tokens.

    As of n independent guesses 1 + p1 + p1 p2 + ... tokens come (Leviathan et al. 2023, arXiv 2211.17192).
    """
    alone = seconds(n_tokens)
    if not alone:
        return Length()
    n_best, best_gain, best_promised = 0, 1.0, 0.0
    without = float(n_tokens) if progress is None else progress
    promised, likely = 0.0, 1.0
    for n, share in enumerate(shares, 1):
        likely *= share
        promised += likely
        cost = (seconds(n_tokens + n) or 0.0) + n * guess_seconds
        gain = (without + promised) / cost * alone / without
        if gain > best_gain:
            n_best, best_gain, best_promised = n, gain, promised
    return Length(n_best, best_gain, best_promised) if best_gain >= least_gain else Length()


def least_share(
    seconds: Callable[[int], float | None], n_tokens: int, guess_seconds: float, n_most: int
) -> float:
    """How likely the first guess must be to come true for any number, of at most `n_most`, to be worth it.

    Those behind it count only where it comes true, so none of them promises more. This is for a progress of
    1, as of `best_length`, and in proportion for any other.
    """
    alone = seconds(n_tokens)
    if not alone:
        return inf
    return min(
        (WORTH * ((seconds(n_tokens + n) or 0.0) + n * guess_seconds) / alone - 1) / n
        for n in range(1, n_most + 1)
    )
