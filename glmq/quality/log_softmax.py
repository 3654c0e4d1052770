"""Logits to logarithms of probabilities, row by row, in pieces that stay in the processor's cache."""

from __future__ import annotations

import numpy as np

PIECE_BYTES = 1 << 20


def log_sums(logits: np.ndarray) -> np.ndarray:
    """Per row ln Σ exp(logit), float64 (n,), of float32 (n, n_vocab); sums are of float64.

    A logit minus its row's value is the logarithm of the token's probability.
    """
    found = np.empty(len(logits))
    n_rows = max(1, PIECE_BYTES // logits[:1].nbytes) if len(logits) else 1
    for first in range(0, len(logits), n_rows):
        piece = logits[first : first + n_rows]
        greatest = piece.max(axis=1, keepdims=True)
        total = np.exp(piece - greatest).sum(axis=1, dtype=np.float64)
        found[first : first + n_rows] = greatest[:, 0] + np.log(total)
    return found


def negative_log_likelihoods(logits: np.ndarray, tokens: np.ndarray) -> np.ndarray:
    """-ln p of one token a row, float64 (n,). logits: float32 (n, n_vocab); tokens: int (n,)."""
    found: np.ndarray = log_sums(logits) - logits[np.arange(len(tokens)), tokens]
    return found
