"""The sampler: the chain of steps, the draw at its end, and the tokens that some steps remember."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from . import filters
from .candidates import Candidates, candidates
from .dry import Dry, breakers_of
from .mirostat import Mirostat
from .penalties import Penalties, add_bias
from .settings import Sampling

if TYPE_CHECKING:
    from ..tokenizer import Tokenizer

Step = Callable[[Candidates], Candidates]


class Sampler:
    """Draws tokens by `sampling`, one after another, equal in distribution to llama.cpp.

    history: the tokens so far, prompt included, which penalties and DRY count as llama.cpp does. tokenizer:
    DRY finds its breakers with it and cannot do without it.
    """

    def __init__(
        self, sampling: Sampling, tokenizer: Tokenizer | None = None, history: Sequence[int] = ()
    ) -> None:
        self.sampling = sampling
        self._random = np.random.default_rng(sampling.seed)
        self._penalties = Penalties(sampling)
        self._dry = _dry(sampling, tokenizer)
        self._mirostat = Mirostat(sampling.mirostat_tau, sampling.mirostat_eta) if sampling.mirostat else None
        self._steps = self._chain()
        n_recent = max(sampling.penalty_last_n, sampling.dry_last_n)
        for token in history[max(0, len(history) - n_recent) :]:
            self.accept(token)

    def sample(self, logits: np.ndarray) -> int:
        """A token for logits, float32 (n_vocab,), which is remembered. Tokens at -inf are never drawn.

        Raises GlmqError when the logits are not numbers, all -inf, or made so by logit_bias.
        """
        left = self._candidates(logits)
        weights = left.probabilities()
        sums = weights.cumsum(dtype=np.float64)
        # 1 - random() is above 0, so that a token of probability 0 is never the first to reach it.
        drawn = int(np.searchsorted(sums, (1 - self._random.random()) * sums[-1]))
        if self._mirostat:
            self._mirostat.observe(float(weights[drawn]))
        token = int(left.ids[drawn])
        self.accept(token)
        return token

    def accept(self, token: int) -> None:
        """Remember a token that was not drawn here."""
        self._penalties.accept(token)
        if self._dry:
            self._dry.accept(token)

    def distribution(self, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The tokens that may be drawn, likeliest first, and float32 probabilities that sum to 1.

        Raises GlmqError as `sample` does. Where XTC acts, its chance is taken anew each time.
        """
        left = self._candidates(logits)
        best = left.likeliest()
        return left.ids[best], left.probabilities()[best]

    def _candidates(self, logits: np.ndarray) -> Candidates:
        left = candidates(logits)
        if self.sampling.logit_bias:
            left = add_bias(left, self.sampling.logit_bias, len(logits))
        for step in self._steps:
            left = step(left)
        return left

    def _chain(self) -> list[Step]:
        settings = self.sampling
        temperature = partial(filters.temperature, value=settings.temperature)
        if self._mirostat:
            return [temperature, self._mirostat.apply]
        steps: dict[str, Step] = {
            "penalties": self._penalties.apply,
            "top_n_sigma": partial(filters.top_n_sigma, n=settings.top_n_sigma),
            "top_k": partial(filters.top_k, k=settings.top_k),
            "typ_p": partial(filters.typical_p, p=settings.typical_p),
            "top_p": partial(filters.top_p, p=settings.top_p),
            "min_p": partial(filters.min_p, p=settings.min_p),
            "xtc": partial(
                filters.xtc,
                probability=settings.xtc_probability,
                threshold=settings.xtc_threshold,
                random=self._random,
            ),
            "temperature": temperature,
        }
        if self._dry:
            steps["dry"] = self._dry.apply
        return [steps[name] for name in settings.order if name in steps]


def _dry(sampling: Sampling, tokenizer: Tokenizer | None) -> Dry | None:
    """DRY where it acts."""
    acts = sampling.dry_multiplier and sampling.dry_last_n and "dry" in sampling.order
    if not acts or sampling.mirostat:
        return None
    if tokenizer is None:
        raise ValueError("DRY needs the tokenizer, to find its breakers")
    return Dry(sampling, breakers_of(sampling.dry_breakers, tokenizer))
