"""How far a model's predictions are from a base model's: Kullback-Leibler divergence, and more."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from glmq_kernels.errors import GlmqError

from .chunk_logits import ChunkLogits, chunk_logits
from .chunks import Chunks
from .log_softmax import PIECE_BYTES, log_sums
from .logits_file import WIDEST, LogitsFile
from .statistics import Estimate, Spread, covariance, estimate, share

if TYPE_CHECKING:
    from ..model import Model


@dataclass(frozen=True)
class Divergence:
    """A model's predictions of a text beside a base model's, with standard errors.

    perplexity, base_perplexity: of both. log_ratio: ln(perplexity / base_perplexity), whose error knows that
    both go up and down together; ratio: the same without ln; correlation: of the tokens' ln p.
    kl: Σ p_base · ln(p_base / p) of a prediction, in nats. same_top: share of predictions whose likeliest
    token is the base model's. change: p - p_base of the token that came; rms_change: root of its mean square.
    """

    perplexity: Estimate
    base_perplexity: Estimate
    ratio: Estimate
    log_ratio: Estimate
    correlation: float
    kl: Estimate
    kl_spread: Spread
    same_top: Estimate
    change: Estimate
    change_spread: Spread
    rms_change: Estimate
    n_counted: int
    n_chunks: int
    n_ctx: int


@dataclass
class _Predictions:
    """What is kept of each counted prediction, float64 and bool (n,)."""

    nll: np.ndarray
    base_nll: np.ndarray
    kl: np.ndarray
    same_top: np.ndarray

    @classmethod
    def of(cls, n: int) -> _Predictions:
        return cls(np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, bool))

    def first(self, n: int) -> _Predictions:
        return _Predictions(self.nll[:n], self.base_nll[:n], self.kl[:n], self.same_top[:n])


Told = Callable[[int, Divergence], None]
"""Called after each chunk with the number of chunks in all and what came of those that are done."""


def divergence(
    model: Model, base: LogitsFile, max_chunks: int | None = None, progress: Told | None = None
) -> Divergence:
    """Of the text that a base model's file holds. Raises GlmqError when the model has another vocabulary."""
    if base.n_vocab != model.n_vocab:
        raise GlmqError(
            f"{base.path} was written with a vocabulary of {base.n_vocab} tokens, and {model.path.name} has"
            f" {model.n_vocab}; both must be of the same model"
        )
    tokenizer = model.tokenizer
    begins_with = tokenizer.bos_id if tokenizer.add_bos else None
    chunks = Chunks(base.tokens[:max_chunks], begins_with)
    kept = _Predictions.of(len(chunks) * chunks.n_counted)
    n = 0
    for part in chunk_logits(model, chunks):
        _compare(part, base, kept, n)
        n += len(part.following)
        if progress is not None and n % chunks.n_counted == 0:
            progress(len(chunks), _summary(kept.first(n), chunks.n_ctx))
    return _summary(kept, chunks.n_ctx)


def _compare(part: ChunkLogits, base: LogitsFile, kept: _Predictions, first: int) -> None:
    """Work out a part's predictions, which are those from `first` on."""
    n_rows = max(1, PIECE_BYTES // part.logits[:1].nbytes)
    for begin in range(0, len(part.logits), n_rows):
        logits = part.logits[begin : begin + n_rows]
        tokens = part.following[begin : begin + n_rows]
        rows, here = np.arange(len(tokens)), slice(first + begin, first + begin + len(tokens))
        of_base = base.log_probabilities(first + begin, len(tokens))
        sums = log_sums(logits)
        kept.nll[here] = sums - logits[rows, tokens]
        kept.base_nll[here] = -of_base[rows, tokens]
        kept.same_top[here] = logits.argmax(axis=1) == of_base.argmax(axis=1)
        difference = of_base - (logits - sums[:, None].astype(np.float32))
        products = np.where(of_base > -WIDEST, np.exp(of_base) * difference, np.float32(0))
        kept.kl[here] = products.sum(axis=1, dtype=np.float64)


def _summary(kept: _Predictions, n_ctx: int) -> Divergence:
    nll, base_nll = estimate(kept.nll), estimate(kept.base_nll)
    both = covariance(kept.nll, kept.base_nll)
    ratio_error = math.sqrt(max(0.0, nll.error**2 + base_nll.error**2 - 2 * both))
    log_ratio = Estimate(nll.value - base_nll.value, ratio_error)
    change = np.exp(-kept.nll) - np.exp(-kept.base_nll)
    square = estimate(change**2)
    rms = math.sqrt(square.value)
    return Divergence(
        perplexity=_exp(nll),
        base_perplexity=_exp(base_nll),
        ratio=_exp(log_ratio),
        log_ratio=log_ratio,
        correlation=both / (nll.error * base_nll.error) if nll.error and base_nll.error else math.nan,
        kl=estimate(kept.kl),
        kl_spread=Spread.of(kept.kl),
        same_top=share(kept.same_top),
        change=estimate(change),
        change_spread=Spread.of(change),
        rms_change=Estimate(rms, square.error / (2 * rms) if rms else 0.0),
        n_counted=len(kept.nll),
        n_chunks=len(kept.nll) // (n_ctx - 1 - n_ctx // 2),
        n_ctx=n_ctx,
    )


def _exp(estimated: Estimate) -> Estimate:
    value = math.exp(estimated.value)
    return Estimate(value, value * estimated.error)
