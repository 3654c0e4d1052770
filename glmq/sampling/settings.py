"""What can be set about choosing tokens."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from numbers import Integral, Real

from glmq_kernels.errors import GlmqError

from ..argument_checks import check_mapping

STEPS = ("penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature")
"""The steps by llama.cpp's names, in its default order."""

LARGEST, LARGEST_COUNT = 1e6, 10**9
"""Larger numbers are refused, so that float32 arithmetic stays finite."""

_RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, LARGEST),
    "top_k": (0, LARGEST_COUNT),
    "top_p": (0, 1),
    "min_p": (0, 1),
    "typical_p": (0, 1),
    "top_n_sigma": (-LARGEST, LARGEST),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, 1),
    "repeat_penalty": (0.01, 100),
    "frequency_penalty": (-1000, 1000),
    "presence_penalty": (-1000, 1000),
    "penalty_last_n": (0, LARGEST_COUNT),
    "dry_multiplier": (0, LARGEST),
    "dry_base": (1, LARGEST),
    "dry_allowed_length": (0, LARGEST_COUNT),
    "dry_last_n": (0, LARGEST_COUNT),
    "mirostat_tau": (0, LARGEST),
    "mirostat_eta": (0, LARGEST),
}
"""Least and greatest value of each number."""


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Defaults are llama.cpp's. Raises GlmqError for values that make no sense.

    temperature: 0 always takes the likeliest token. top_k: draw from that many likeliest (0: all). top_p:
    from the fewest likeliest whose probabilities reach that sum (1: all; Holtzman et al. 2019, arXiv
    1904.09751). min_p: from those at least that fraction as likely as the likeliest (0: all; Nguyen et al.
    2024, arXiv 2407.01082). typical_p: from those whose information is nearest to the entropy, until their
    probabilities exceed that sum (1: all; Meister et al. 2022, arXiv 2202.00666). top_n_sigma: from those
    at most that many standard deviations of the logits below the highest (0 or less: all; Tang et al. 2024,
    arXiv 2411.07641). xtc_probability: how often all tokens at least as likely as xtc_threshold are left out,
    but for the least likely of them (0: never; a threshold above 0.5: never).

    repeat_penalty divides positive logits of recent tokens and multiplies negative ones (1: off; Keskar et
    al. 2019, arXiv 1909.05858); frequency_penalty is taken off for each time that they came and
    presence_penalty once (0: off). Recent are the last penalty_last_n tokens, prompt included.

    DRY takes dry_multiplier * dry_base ** (n - dry_allowed_length) off a token that would continue a
    repetition of n tokens, n at least dry_allowed_length, within the last dry_last_n tokens
    (multiplier 0: off). Repetitions do not reach over texts of dry_breakers.

    mirostat: 2 keeps the surprise of the tokens near mirostat_tau bits by correcting it at the rate
    mirostat_eta (Basu et al. 2021, arXiv 2007.14966); only temperature and logit_bias act beside it. 0: off.

    logit_bias: added to the logits of these token ids; -inf forbids one. seed: for draws that can be
    repeated; None takes a new one every time. order: names of `STEPS`; those left out do nothing.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    typical_p: float = 1.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_last_n: int = 64
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_last_n: int = 64
    dry_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    mirostat: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    order: tuple[str, ...] = STEPS

    def __post_init__(self) -> None:
        object.__setattr__(self, "dry_breakers", _texts("dry_breakers", self.dry_breakers))
        object.__setattr__(self, "order", _texts("order", self.order))
        check_mapping("logit_bias", self.logit_bias, keys="token ids")
        object.__setattr__(self, "logit_bias", dict(self.logit_bias))
        for each in fields(self):
            value = getattr(self, each.name)
            if each.type == "int":
                _check(each.name, value, _is_whole(value), "a whole number")
            if each.name in _RANGES:
                least, most = _RANGES[each.name]
                _check(each.name, value, _is_between(value, least, most), f"from {least:g} to {most:g}")
        _check("mirostat", self.mirostat, self.mirostat in (0, 2), "0 or 2")
        if self.seed is not None:
            _check("seed", self.seed, _is_whole(self.seed) and self.seed >= 0, "a whole number, 0 or more")
        self._check_names()

    def _check_names(self) -> None:
        for name in self.order:
            if name not in STEPS:
                raise GlmqError(f"order names {name!r}; the steps are {', '.join(STEPS)}")
        for token, bias in self.logit_bias.items():
            if not _is_whole(token) or token < 0:
                raise GlmqError(f"logit_bias names token {token}; token ids are 0 or more")
            if not (_is_between(bias, -LARGEST, LARGEST) or bias == -math.inf):
                raise GlmqError(f"logit_bias of token {token} is {bias}; it must be a number or -inf")


def _is_whole(value: object) -> bool:
    return isinstance(value, Integral)


def _is_between(value: object, least: float, most: float) -> bool:
    return isinstance(value, Real) and least <= float(value) <= most


def _texts(name: str, value: object) -> tuple[str, ...]:
    """Texts of a list, or of one text alone."""
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)) or not all(isinstance(text, str) for text in texts):
        raise TypeError(f"{name} is {value!r}; it must be a list of texts")
    return tuple(texts)


def _check(name: str, value: object, holds: bool, wanted: str) -> None:
    if not holds:
        raise GlmqError(f"{name} is {value}; it must be {wanted}")
