"""Choosing the next token: the usual filters in llama.cpp's order, top-k, top-p, min-p, then temperature."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from glmq_kernels.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Raises UserError for values that make no sense.

    temperature: 0 always takes the likeliest token. top_k: of that many likeliest (0: all). top_p: of the
    fewest likeliest whose probabilities reach that sum (1: all; Holtzman et al. 2019, arXiv 1904.09751).
    min_p: of those at least that fraction as likely as the likeliest (0: all; Nguyen et al. 2024, arXiv
    2407.01082). seed: for draws that can be repeated; None takes a new one every time.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    seed: int | None = None

    def __post_init__(self) -> None:
        _check("temperature", self.temperature, 0 <= self.temperature < 1e6, "0 or more")
        _check("top_k", self.top_k, self.top_k >= 0, "0 or more")
        _check("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1")
        _check("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 to 1")
        _check("seed", self.seed, self.seed is None or self.seed >= 0, "0 or more")


def _check(name: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise UserError(f"{name} is {value}; it must be {wanted}")


class Sampler:
    """Draws tokens by `sampling`, one after another."""

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._random = np.random.default_rng(sampling.seed)

    def sample(self, logits: np.ndarray) -> int:
        """A token for logits, float32 (n_vocab,). Raises UserError when they are not numbers."""
        if not np.isfinite(logits.max()):
            raise UserError("the model's output is not finite; the file may be damaged")
        if self.sampling.temperature == 0:
            return int(logits.argmax())
        tokens, probabilities = distribution(logits, self.sampling)
        drawn = np.searchsorted(probabilities.cumsum(), self._random.random() * probabilities.sum(), "right")
        return int(tokens[min(int(drawn), len(tokens) - 1)])

    def accept(self, token: int) -> None:
        """Take note of a token that follows without having been drawn."""


def distribution(logits: np.ndarray, sampling: Sampling) -> tuple[np.ndarray, np.ndarray]:
    """The tokens that may be drawn, likeliest first, and float64 probabilities that sum to 1."""
    n = len(logits)
    k = min(sampling.top_k, n) or n
    tokens = np.argpartition(logits, n - k)[n - k :] if k < n else np.arange(n)
    tokens = tokens[np.argsort(-logits[tokens], kind="stable")]
    kept = logits[tokens].astype(np.float64)
    if sampling.top_p < 1:
        before = np.concatenate([[0.0], _softmax(kept).cumsum()[:-1]])
        kept = kept[: int((before < sampling.top_p).sum())]
    if sampling.min_p > 0:
        kept = kept[kept >= kept[0] + np.log(sampling.min_p)]
    return tokens[: len(kept)], _softmax(kept / max(sampling.temperature, 1e-6))


def _softmax(x: np.ndarray) -> np.ndarray:
    powers: np.ndarray = np.exp(x - x.max())
    powers /= powers.sum()
    return powers
