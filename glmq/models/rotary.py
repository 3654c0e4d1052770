"""Rotary frequencies as a file's metadata gives them: plain, stretched linearly, by YaRN or by a tensor.

YaRN follows https://arxiv.org/abs/2309.00071 with the rounding of Hugging Face transformers
(modeling_rope_utils.py), which llama.cpp shares.
"""

from __future__ import annotations

import math

import numpy as np
from glmq_kernels.errors import GlmqError

from ..gguf import GGUFFile
from ..rotary_angles import Rotary
from ..weights import Weights

SCALING_TYPES = ("none", "linear", "yarn")
BETA_FAST, BETA_SLOW = 32.0, 1.0
LEAST, LARGEST = 1e-6, 1e6
"""What a number that scales may be: no real one comes near, and angles stay finite."""


def plain_frequencies(rope_theta: float, n_rotated: int) -> np.ndarray:
    """Rotary frequencies theta**(-2i / n), float64 (n_rotated / 2,)."""
    return rope_theta ** (-np.arange(0, n_rotated, 2, dtype=np.float64) / n_rotated)


def read_rotary(file: GGUFFile, weights: Weights, head_dim: int, *, interleaved: bool) -> Rotary:
    """The rotary embedding of heads of `head_dim` dimensions that the file describes.

    Raises GlmqError for a kind of scaling that is not known, and for numbers that cannot be.
    """
    prefix = f"{file.text('general.architecture')}.rope."
    n_rotated = file.integer(f"{prefix}dimension_count", head_dim)
    if n_rotated % 2 or not 0 < n_rotated <= head_dim:
        raise GlmqError(
            f"{file.path}: {prefix}dimension_count is {n_rotated}; it must be an even number from 2 to"
            f" {head_dim}, the dimensions of a head"
        )
    theta = file.number(f"{prefix}freq_base", 10000.0, least=1)
    frequencies = plain_frequencies(theta, n_rotated)
    if "rope_freqs.weight" in weights:
        divisors = weights.vector("rope_freqs.weight", n_rotated // 2)
        if not (np.isfinite(divisors) & (divisors > 0)).all():
            raise GlmqError(f"{file.path}: rope_freqs.weight must hold numbers above 0; the file is damaged")
        frequencies = frequencies / divisors
    # As llama.cpp: an older key for the factor, and a factor without a type is linear.
    factor_key = (
        f"{prefix}scaling.factor" if f"{prefix}scaling.factor" in file.metadata else f"{prefix}scale_linear"
    )
    factor = _scale(file, factor_key, 1.0) if file.number(factor_key, 0.0) else 1.0
    kind = file.text(f"{prefix}scaling.type", "linear")
    if kind not in SCALING_TYPES:
        raise GlmqError(
            f"{file.path}: {prefix}scaling.type is {kind!r}; glmq knows {', '.join(SCALING_TYPES)}"
        )
    amplitude = _scale(file, f"{prefix}scaling.attn_factor", 1.0) * _scale(
        file, f"{prefix}scaling.yarn_attn_factor", 1.0
    )
    score_factor = 1.0
    if kind == "linear":
        frequencies = frequencies / factor
    elif kind == "yarn":
        trained = file.integer(f"{file.text('general.architecture')}.context_length", 0)
        original = file.integer(f"{prefix}scaling.original_context_length", trained)
        if original < 1 or theta <= 1:
            raise GlmqError(
                f"{file.path}: {prefix}scaling.type 'yarn' needs a positive original_context_length"
                f" and a freq_base above 1"
            )
        fast = _scale(file, f"{prefix}scaling.yarn_beta_fast", BETA_FAST)
        slow = _scale(file, f"{prefix}scaling.yarn_beta_slow", BETA_SLOW)
        kept = yarn_share(theta, n_rotated, original, fast, slow)
        frequencies = frequencies * (kept + (1 - kept) / factor)
        of_scores = _of_all_scores(file, prefix)
        amplitude *= 1.0 if of_scores else yarn_amplitude(factor)
        score_factor = yarn_amplitude(factor, of_scores) ** 2
    return Rotary(frequencies, interleaved=interleaved, amplitude=amplitude, score_factor=score_factor)


def yarn_share(theta: float, n_rotated: int, original: int, fast: float, slow: float) -> np.ndarray:
    """How much of each frequency YaRN keeps, 0 to 1, float64 (n_rotated / 2,); the rest is divided.

    original: tokens of context before the stretching. fast, slow: turns within it from which on a frequency
    is kept whole, or divided whole.
    """

    def pair_of(turns: float) -> float:
        return n_rotated * math.log(original / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low = min(max(math.floor(pair_of(fast)), 0), n_rotated)
    high = min(math.ceil(pair_of(slow)), n_rotated - 1)
    ramp = (np.arange(n_rotated // 2) - low) / max(high - low, 0.001)
    kept: np.ndarray = 1 - np.clip(ramp, 0, 1)
    return kept


def yarn_amplitude(factor: float, weight: float = 1.0) -> float:
    """What YaRN multiplies cosines and sines by, or each side of a score; weight: of the stretching in it."""
    return 0.1 * weight * math.log(factor) + 1 if factor > 1 else 1.0


def _of_all_scores(file: GGUFFile, prefix: str) -> float:
    """DeepSeek's `mscale_all_dim`: the weight with which stretching raises all scores, 0 where it does not.

    The rotated dimensions then have no amplitude of their own. Files hold a tenth of it.
    """
    key = f"{prefix}scaling.yarn_log_multiplier"
    if not file.number(key, 0.0):
        return 0.0
    return 10 * _scale(file, key, 0.0)


def _scale(file: GGUFFile, key: str, default: float) -> float:
    value = file.number(key, default)
    if not LEAST <= value <= LARGEST:
        raise GlmqError(f"{file.path}: {key} is {value:g}; it must be a number from {LEAST:g} to {LARGEST:g}")
    return value
