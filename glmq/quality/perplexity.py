"""Perplexity: how many tokens a model is unsure between, as llama.cpp's `llama-perplexity` defines it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .chunk_logits import chunk_logits
from .chunks import Chunks
from .log_softmax import negative_log_likelihoods
from .logits_file import LogitsWriter
from .statistics import estimate

if TYPE_CHECKING:
    from ..model import Model


@dataclass(frozen=True)
class Perplexity:
    """exp of the mean negative log-likelihood of the counted tokens, with its standard error.

    mean_nll: the mean, in nats. n_counted: tokens. n_chunks: chunks of `n_ctx` tokens.
    """

    value: float
    error: float
    mean_nll: float
    n_counted: int
    n_chunks: int
    n_ctx: int


Told = Callable[[int, Perplexity], None]
"""Called after each chunk with the number of chunks in all and what came of those that are done."""


def perplexity(
    model: Model, chunks: Chunks, progress: Told | None = None, base: LogitsWriter | None = None
) -> Perplexity:
    """Of a text's chunks (`chunks_of_text`), of each the second half.

    base: gets all predictions, so that other models can be compared with this one.
    """
    nll = np.empty(len(chunks) * chunks.n_counted)
    n = 0
    for part in chunk_logits(model, chunks):
        nll[n : n + len(part.following)] = negative_log_likelihoods(part.logits, part.following)
        n += len(part.following)
        if base is not None:
            base.add(part.logits)
        if progress is not None and n % chunks.n_counted == 0:
            progress(len(chunks), _of(nll[:n], chunks.n_ctx))
    return _of(nll, chunks.n_ctx)


def _of(nll: np.ndarray, n_ctx: int) -> Perplexity:
    mean = estimate(nll)
    value = math.exp(mean.value)
    return Perplexity(
        value, value * mean.error, mean.value, len(nll), len(nll) // (n_ctx - 1 - n_ctx // 2), n_ctx
    )
