"""The steps of the chain that need nothing but the candidates. Arithmetic is float32, as llama.cpp's is.

Every step keeps at least one candidate.
"""

from __future__ import annotations

import math

import numpy as np

from .candidates import Candidates

LOWEST_TEMPERATURE = 1e-6
"""Temperatures above 0 but below this one are taken as this one."""


def top_k(candidates: Candidates, k: int) -> Candidates:
    """The `k` likeliest; k = 0 keeps all."""
    if k == 0 or k >= len(candidates):
        return candidates
    return candidates.keep(candidates.likeliest(k))


def top_p(candidates: Candidates, p: float) -> Candidates:
    """The fewest likeliest whose probabilities reach the sum `p`; p = 1 keeps all."""
    if p >= 1:
        return candidates
    probabilities = candidates.probabilities()
    n, k = len(candidates), 256
    while True:
        best = candidates.likeliest(k)
        sums = probabilities[best].cumsum(dtype=np.float32)
        if sums[-1] >= np.float32(p) or k >= n:
            break
        k *= 16
    return candidates.keep(best[: int(np.searchsorted(sums, np.float32(p))) + 1])


def min_p(candidates: Candidates, p: float) -> Candidates:
    """Those at least `p` times as likely as the likeliest; p = 0 keeps all."""
    if p <= 0:
        return candidates
    return candidates.keep(candidates.logits >= candidates.logits.max() + np.float32(math.log(p)))


def typical_p(candidates: Candidates, p: float) -> Candidates:
    """Those whose information is nearest to the entropy, until their sum exceeds `p`; p = 1 keeps all."""
    if p >= 1:
        return candidates
    best = candidates.likeliest()
    probabilities = candidates.probabilities()[best]
    with np.errstate(divide="ignore"):
        information = -np.log(probabilities)
    possible = probabilities > 0
    entropy = (probabilities[possible] * information[possible]).sum()
    nearest = np.argsort(np.abs(information - entropy), kind="stable")
    sums = probabilities[nearest].cumsum(dtype=np.float32)
    return candidates.keep(best[nearest[: int(np.searchsorted(sums, np.float32(p), "right")) + 1]])


def top_n_sigma(candidates: Candidates, n: float) -> Candidates:
    """Those at most `n` standard deviations of the logits below the highest; n of 0 or less keeps all."""
    if n <= 0:
        return candidates
    logits = candidates.logits
    return candidates.keep(logits >= logits.max() - n * logits.std(dtype=np.float64))


def xtc(
    candidates: Candidates, probability: float, threshold: float, random: np.random.Generator
) -> Candidates:
    """Exclude the top choices, by chance: all at least as likely as `threshold` but the last of them.

    By p-e-w, text-generation-webui pull request 6335.
    """
    if probability <= 0 or threshold > 0.5 or random.random() >= probability:
        return candidates
    probable = candidates.probabilities() >= np.float32(threshold)
    n_excluded = np.count_nonzero(probable) - 1
    if n_excluded < 1:
        return candidates
    return candidates.keep(candidates.likeliest()[n_excluded:])


def temperature(candidates: Candidates, value: float) -> Candidates:
    """Logits divided by the temperature; at 0 the likeliest token alone."""
    if value == 0:
        return candidates.best()
    return Candidates(candidates.ids, candidates.logits / np.float32(max(value, LOWEST_TEMPERATURE)))
