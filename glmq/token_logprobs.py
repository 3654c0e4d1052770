"""How likely tokens were: natural logarithms of probabilities, as the model gives them before sampling."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from .session import Session

CHUNK = 64
"""Tokens of a prompt whose logits are there at once, each 600 KB for a vocabulary of 150,000 tokens."""


@dataclass(frozen=True)
class TokenLogprob:
    """A token, its log-probability, and the likeliest tokens at its place with theirs, best first.

    A token that was forced has the log-probability 0, and no others beside it.
    """

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


def token_logprob(logits: np.ndarray, token: int, n_top: int) -> TokenLogprob:
    """Of a token that follows where the logits, float32 (n_vocab,), were given; with `n_top` likeliest."""
    return _of(np.asarray(logits), token, n_top)


def prompt_logprobs(session: Session, tokens: Sequence[int], n_top: int) -> list[TokenLogprob | None]:
    """Of each token of a prompt, which an empty session evaluates; None for the first one.

    Raises ContextFull when the prompt is too long.
    """
    session.require_room(len(tokens))
    found: list[TokenLogprob | None] = [None]
    for first in range(0, len(tokens), CHUNK):
        chunk = tokens[first : first + CHUNK]
        logits = session.evaluate_all(list(chunk))
        following = tokens[first + 1 : first + 1 + len(chunk)]
        found += [_of(row, token, n_top) for row, token in zip(logits, following, strict=False)]
    return found


def _of(logits: np.ndarray, token: int, n_top: int) -> TokenLogprob:
    greatest = float(logits.max())
    total = greatest + float(np.log(np.exp(logits - np.float32(greatest)).sum(dtype=np.float64)))
    n_top = min(n_top, len(logits))
    best: list[int] = []
    if n_top:
        likeliest = np.argpartition(-logits, n_top - 1)[:n_top]
        best = likeliest[np.lexsort((likeliest, -logits[likeliest]))].tolist()
    return TokenLogprob(
        token, float(logits[token]) - total, tuple((i, float(logits[i]) - total) for i in best)
    )
