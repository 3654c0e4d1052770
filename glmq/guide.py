"""What steers a generation: tokens that must follow, tokens that may not, and when the answer is complete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np


class Guide(Protocol):
    """Steers one generation, token by token. Its methods may raise GlmqError, which ends the generation."""

    @property
    def finished(self) -> bool:
        """Whether the answer is complete, so that nothing may follow."""

    def forced(self) -> Sequence[int]:
        """The tokens that follow now whatever the model says; none where it has a choice."""

    def mask(self, logits: np.ndarray) -> None:
        """Set the logits, float32 (n_vocab,), of tokens that may not follow to minus infinity."""

    def accept(self, token: int) -> None:
        """Go on behind a token, forced or drawn. Tokens that end a generation are not told."""


@runtime_checkable
class LooksAhead(Protocol):
    """What a guide may tell besides, so that guesses which it rules out are not checked by the model."""

    def n_allowed(self, tokens: Sequence[int]) -> int:
        """How many of some tokens, guesses of what follows, may come one after the other, at most.

        Whatever it says, answers are the same.
        """


def n_allowed(guide: Guide | None, tokens: Sequence[int]) -> int:
    """How many of some tokens a guide may allow, one after the other: all where it does not look ahead."""
    return guide.n_allowed(tokens) if isinstance(guide, LooksAhead) else len(tokens)
