"""The tokens that may still be drawn, and what the steps of the chain ask of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from glmq_kernels.errors import GlmqError

GROUPS_PER_TOKEN = 4
"""Groups of logits for each token wanted, when the likeliest are looked for."""


@dataclass(frozen=True)
class Candidates:
    """Tokens that may still be drawn, at least one.

    ids: int64 (n,), ascending. logits: float32 (n,), finite.
    """

    ids: np.ndarray
    logits: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def keep(self, which: np.ndarray) -> Candidates:
        """Only some: bool (n,), or positions in any order."""
        if which.dtype != bool:
            which = np.sort(which)
        return Candidates(self.ids[which], self.logits[which])

    def best(self) -> Candidates:
        """The likeliest alone, the first of equal ones."""
        i = int(self.logits.argmax())
        return Candidates(self.ids[i : i + 1], self.logits[i : i + 1])

    def probabilities(self) -> np.ndarray:
        """Softmax of the logits, float32 (n,)."""
        powers: np.ndarray = np.exp(self.logits - self.logits.max())
        powers /= powers.sum()
        return powers

    def likeliest(self, k: int | None = None) -> np.ndarray:
        """Positions of the `k` likeliest (default: of all), best first; equal ones by their ids."""
        n = len(self)
        near = np.arange(n) if k is None or k >= n else np.flatnonzero(self.logits >= self._bound(k))
        best: np.ndarray = near[np.argsort(-self.logits[near], kind="stable")][:k]
        return best

    def positions(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where tokens stand among the candidates, and which of them do: both for indexing."""
        found = np.searchsorted(self.ids, tokens).clip(max=len(self) - 1)
        present = np.flatnonzero(self.ids[found] == tokens)
        return found[present], present

    def _bound(self, k: int) -> np.float32:
        """A logit that at least `k` candidates reach, and few more, without a sort of all.

        At least k groups have a greatest logit that reaches the k-th greatest of these.
        """
        width = len(self) // (GROUPS_PER_TOKEN * k)
        if width < 2:
            greatest = self.logits
        else:
            whole = self.logits[: len(self) // width * width]
            greatest = whole.reshape(width, -1).max(axis=0)
        bound: np.float32 = np.partition(greatest, len(greatest) - k)[len(greatest) - k]
        return bound


def candidates(logits: np.ndarray) -> Candidates:
    """All tokens of logits (n_vocab,) but those at -inf, which a caller may use to forbid tokens.

    Raises GlmqError when no logit is finite or one is NaN or +inf.
    """
    logits = np.asarray(logits, np.float32)
    if not np.isfinite(logits.max()):
        raise GlmqError("the model's output is not finite; the file may be damaged")
    if logits.min() == -np.inf:
        ids = np.flatnonzero(logits > -np.inf)
        return Candidates(ids, logits[ids])
    return Candidates(np.arange(len(logits)), logits)
