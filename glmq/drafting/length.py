"""How many guesses are worth checking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

WORTH = 1.08
"""How many times as fast a draft must promise to be: promises are uncertain."""


@dataclass(frozen=True)
class Length:
    """A number of guesses, and how many times as fast as without any they promise to be."""

    n: int = 0
    gain: float = 1.0


def best_length(
    shares: Sequence[float],
    seconds: Callable[[int], float | None],
    n_tokens: int,
    guess_seconds: float = 0.0,
    least_gain: float = WORTH,
) -> Length:
    """The number of guesses that promises the most tokens per second; 0 where none is worth it.

    shares: how likely each guess is to come true where those before it have. seconds: what a run of so many
    tokens costs, None where nobody knows. n_tokens: those in the run without guesses, of all its sequences,
    each of which it brings on by one. guess_seconds: what each guess costs, 0 where it is made. least_gain:
    for which a draft is worth it.

    As of n independent guesses 1 + p1 + p1 p2 + ... tokens come (Leviathan et al. 2023, arXiv 2211.17192).
    """
    alone = seconds(n_tokens)
    if not alone:
        return Length()
    best = Length()
    expected, likely = float(n_tokens), 1.0
    for n, share in enumerate(shares, 1):
        likely *= share
        expected += likely
        cost = (seconds(n_tokens + n) or 0.0) + n * guess_seconds
        gain = expected / cost * alone / n_tokens
        if gain > best.gain:
            best = Length(n, gain)
    return best if best.gain >= least_gain else Length()
