"""Single settings of sampling, given beside all of them or alone: what is not given stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypedDict

from ..argument_checks import check_instance
from .recommendations import recommended
from .settings import Sampling


class SamplingNames(TypedDict, total=False):
    """The fields of `SamplingChanges` as arguments of a function."""

    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    typical_p: float | None
    top_n_sigma: float | None
    xtc_probability: float | None
    xtc_threshold: float | None
    repeat_penalty: float | None
    frequency_penalty: float | None
    presence_penalty: float | None
    penalty_last_n: int | None
    dry_multiplier: float | None
    dry_base: float | None
    dry_allowed_length: int | None
    dry_last_n: int | None
    dry_breakers: Sequence[str] | None
    mirostat: int | None
    mirostat_tau: float | None
    mirostat_eta: float | None
    logit_bias: Mapping[int, float] | None
    seed: int | None
    order: Sequence[str] | None


@dataclass(frozen=True, kw_only=True)
class SamplingChanges:
    """The fields of `Sampling`, each None where it stays as it is.

    Raises GlmqError and TypeError for values that `Sampling` does not take.
    """

    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_n_sigma: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    repeat_penalty: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    penalty_last_n: int | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_last_n: int | None = None
    dry_breakers: Sequence[str] | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    logit_bias: Mapping[int, float] | None = None
    seed: int | None = None
    order: Sequence[str] | None = None

    def __post_init__(self) -> None:
        self.applied_to(Sampling())

    def applied_to(self, sampling: Sampling) -> Sampling:
        """The sampling with these changes."""
        given = {each.name: getattr(self, each.name) for each in fields(SamplingChanges)}
        return replace(sampling, **{name: value for name, value in given.items() if value is not None})

    def of_model(self, metadata: Mapping[str, Any], given: Sampling | None = None) -> Sampling:
        """The given sampling, or what suits a model by its file's metadata, with these changes."""
        check_instance("sampling", given, Sampling, "glmq.Sampling(...)")
        return self.applied_to(given or recommended(metadata))
