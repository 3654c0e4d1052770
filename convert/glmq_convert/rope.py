"""Rotary embedding as config.json describes it, read as transformers 5 reads it.

Source: RotaryEmbeddingConfigMixin and ROPE_INIT_FUNCTIONS in transformers' modeling_rope_utils.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from glmq_kernels.errors import GlmqError

from .json_fields import flag, number, positive, shown, table, text, whole

DEFAULT_THETA = 10000.0
DEFAULT_PARTIAL_FACTOR = 0.5  # of Glm4MoeConfig
LEAST_FACTOR, LARGEST_FACTOR = 1e-6, 1e6  # of what glmq runs


@dataclass(frozen=True)
class RopeScaling:
    """How frequencies are stretched for longer contexts.

    type: "linear", "yarn" or "llama3". factor: of the context. original_context: tokens before the
    stretching. YaRN has besides attention_factor that cosines and sines are multiplied by, and beta_fast and
    beta_slow turns; llama3 low_freq_factor and high_freq_factor turns. mscale_all_dim: the weight with which
    latent attention, and no other, raises all scores.
    """

    type: str
    factor: float
    original_context: int = 0
    attention_factor: float = 1.0
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    mscale_all_dim: float = 0.0


@dataclass(frozen=True)
class Rope:
    """Base of the frequencies, share of each head that is rotated, and the stretching if there is one."""

    theta: float
    partial_factor: float
    scaling: RopeScaling | None


KINDS = ("linear", "yarn")
"""Ways of stretching that the metadata of any architecture can say."""


def parse_rope(
    content: Mapping[str, Any],
    max_positions: int,
    partial_factor: float = DEFAULT_PARTIAL_FACTOR,
    kinds: tuple[str, ...] = KINDS,
) -> Rope:
    """The rotary embedding of a config.json.

    `rope_scaling`, the older name, takes the place of all of `rope_parameters`. What neither holds comes
    from the top of the file. partial_factor: where nothing says it. kinds: of stretching that a file of the
    model can describe. Raises GlmqError for others.
    """
    rope = table(content, "rope_scaling") or table(content, "rope_parameters")
    above = {key: content[key] for key in ("rope_theta", "partial_rotary_factor") if key in content}
    rope = {**above, **rope}
    nested = [key for key, value in rope.items() if isinstance(value, dict)]
    if nested:
        raise GlmqError(
            f"the rope parameters differ between kinds of layers ({nested[0]}), which Glm4Moe has not"
        )
    if rope.get("mrope_section") is not None:
        raise GlmqError("mrope_section is of models that read images, which glmq does not convert")
    return Rope(
        theta=_theta(rope),
        partial_factor=number(rope, "partial_rotary_factor", partial_factor),
        scaling=_scaling(content, rope, max_positions, kinds),
    )


def _theta(rope: Mapping[str, Any]) -> float:
    theta = positive(rope, "rope_theta", DEFAULT_THETA)
    if theta < 1:
        raise GlmqError(f"rope_theta is {theta:g}; it must be a number from 1 up")
    return theta


def _scaling(
    content: Mapping[str, Any], rope: Mapping[str, Any], max_positions: int, kinds: tuple[str, ...]
) -> RopeScaling | None:
    kind = text(rope, "rope_type", text(rope, "type", "default"))
    if kind == "default":
        return None
    if kind not in kinds:
        raise GlmqError(f"rope_type {shown(kind)} cannot be converted; default, {' and '.join(kinds)} can")
    if kind == "linear":
        return RopeScaling(
            "linear", factor=_needed(rope, "factor", kind), mscale_all_dim=_scale_of(rope, "mscale_all_dim")
        )
    where = content if content.get("original_max_position_embeddings") is not None else rope
    original = whole(where, "original_max_position_embeddings", max_positions)
    if kind == "llama3":
        return _llama3(rope, original)
    if not flag(rope, "truncate", True):
        raise GlmqError("truncate false of rope_type yarn cannot be converted: GGUF has no place for it")
    has_factor = rope.get("factor") is not None or "factor" not in rope
    factor = _needed(rope, "factor", kind) if has_factor else max_positions / original
    return RopeScaling(
        "yarn",
        factor,
        original,
        _attention_factor(rope, factor),
        beta_fast=positive(rope, "beta_fast", 32.0) if rope.get("beta_fast") else 32.0,
        beta_slow=positive(rope, "beta_slow", 1.0) if rope.get("beta_slow") else 1.0,
        mscale_all_dim=_scale_of(rope, "mscale_all_dim"),
    )


def _llama3(rope: Mapping[str, Any], original: int) -> RopeScaling:
    low, high = (positive(rope, f"{end}_freq_factor", 1.0) for end in ("low", "high"))
    if not low < high:
        raise GlmqError(f"low_freq_factor is {low:g}; it must be below high_freq_factor, which is {high:g}")
    factor = _needed(rope, "factor", "llama3")
    return RopeScaling("llama3", factor, original, low_freq_factor=low, high_freq_factor=high)


def frequency_divisors(scaling: RopeScaling, theta: float, n_rotated: int) -> np.ndarray:
    """What rope_type llama3 divides each frequency by: float32 (n_rotated / 2,).

    Those that turn often within the original context stay, those that turn seldom are divided by the factor,
    and between the two the share that is divided grows evenly. Source: `_compute_llama3_parameters` of
    transformers.
    """
    turns = scaling.original_context / (2 * math.pi) * theta ** (-np.arange(0, n_rotated, 2) / n_rotated)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return (1 / (kept + (1 - kept) / scaling.factor)).astype(np.float32)


def _needed(rope: Mapping[str, Any], key: str, kind: str) -> float:
    if key not in rope:
        raise GlmqError(f"rope_type {kind} needs a {key}; add it or download config.json again")
    value = positive(rope, key, 1.0)
    if not LEAST_FACTOR <= value <= LARGEST_FACTOR:
        raise GlmqError(
            f"{key} of rope_type {kind} is {value:g}; it must be a number from {LEAST_FACTOR:g}"
            f" to {LARGEST_FACTOR:g}"
        )
    return value


def _attention_factor(rope: Mapping[str, Any], factor: float) -> float:
    if rope.get("attention_factor") is not None:
        return positive(rope, "attention_factor", 1.0)
    scales = [_scale_of(rope, key) for key in _SCALES]
    if all(scales):
        return yarn_amplitude(factor, scales[0]) / yarn_amplitude(factor, scales[1])
    return yarn_amplitude(factor)


_SCALES = ("mscale", "mscale_all_dim")


def _scale_of(rope: Mapping[str, Any], key: str) -> float:
    return number(rope, key, 0.0) if rope.get(key) is not None else 0.0


def yarn_amplitude(factor: float, scale: float = 1.0) -> float:
    """What YaRN multiplies cosines and sines by where nothing else is said."""
    return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0
