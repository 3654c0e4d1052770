"""Changes of single logits: the bias that a caller gives, and penalties for tokens that came recently."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping

import numpy as np
from glmq_kernels.errors import GlmqError

from .candidates import Candidates
from .settings import Sampling


def add_bias(candidates: Candidates, bias: Mapping[int, float], n_vocab: int) -> Candidates:
    """Logits with the bias of token ids added; those at -inf are no candidates any more.

    Raises GlmqError for a token that is not in the vocabulary, and when no candidate is left.
    """
    if max(bias) >= n_vocab:
        raise GlmqError(
            f"logit_bias names token {max(bias)}; the vocabulary of this model ends at {n_vocab - 1}"
        )
    tokens, values = np.array(list(bias)), np.array(list(bias.values()), np.float32)
    where, which = candidates.positions(tokens)
    logits = candidates.logits.copy()
    logits[where] += values[which]
    if not np.isneginf(values).any():
        return Candidates(candidates.ids, logits)
    allowed = logits > -np.inf
    if not allowed.any():
        raise GlmqError("logit_bias forbids every token that could follow; take one of its -inf away")
    return Candidates(candidates.ids[allowed], logits[allowed])


class Penalties:
    """Repeat, frequency and presence penalties on the last `penalty_last_n` tokens.

    A token that came c times gets logit / repeat (or * repeat where it is not positive), less
    c * frequency + presence.
    """

    def __init__(self, sampling: Sampling) -> None:
        self._repeat = np.float32(sampling.repeat_penalty)
        self._frequency = np.float32(sampling.frequency_penalty)
        self._presence = np.float32(sampling.presence_penalty)
        self._recent: deque[int] = deque()
        self._counts: Counter[int] = Counter()
        acts = sampling.repeat_penalty != 1 or sampling.frequency_penalty or sampling.presence_penalty
        self._last_n = sampling.penalty_last_n if acts else 0

    def accept(self, token: int) -> None:
        """Count a token, and forget the one that is no longer recent."""
        if not self._last_n:
            return
        if len(self._recent) == self._last_n:
            oldest = self._recent.popleft()
            self._counts[oldest] -= 1
            if not self._counts[oldest]:
                del self._counts[oldest]
        self._recent.append(token)
        self._counts[token] += 1

    def apply(self, candidates: Candidates) -> Candidates:
        """The candidates with the penalties taken off."""
        if not self._counts:
            return candidates
        where, which = candidates.positions(np.array(list(self._counts)))
        counts = np.array(list(self._counts.values()), np.float32)[which]
        logits = candidates.logits.copy()
        old = logits[where]
        new = np.where(old <= 0, old * self._repeat, old / self._repeat)
        logits[where] = new - (counts * self._frequency + self._presence)
        return Candidates(candidates.ids, logits)
