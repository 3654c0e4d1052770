"""The settings that suit a model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from glmq_kernels.errors import GlmqError

from .settings import Sampling

OF_GLM: dict[str, dict[str, Any]] = {
    "4.5": {"temperature": 0.6, "top_p": 0.95, "top_k": 0, "min_p": 0.0},
    "4.6": {"temperature": 1.0, "top_p": 0.95, "top_k": 40, "min_p": 0.0},
    "4.7": {"temperature": 1.0, "top_p": 0.95, "top_k": 0, "min_p": 0.0},
}
"""By version; Air and Flash are as the large model of their version.

4.7: the model card's default settings, for most tasks. 4.6: the card's recommended evaluation parameters,
temperature 1 in general, with the top-p and top-k that it adds for code. The 4.5 and 4.5-Air cards
recommend nothing: these are the defaults of Z.ai's API for the 4.5 series (docs.z.ai, chat completion).
"""

FILE_KEYS = {
    "order": "general.sampling.sequence",
    "temperature": "general.sampling.temp",
    "top_k": "general.sampling.top_k",
    "top_p": "general.sampling.top_p",
    "min_p": "general.sampling.min_p",
    "xtc_probability": "general.sampling.xtc_probability",
    "xtc_threshold": "general.sampling.xtc_threshold",
    "repeat_penalty": "general.sampling.penalty_repeat",
    "penalty_last_n": "general.sampling.penalty_last_n",
    "dry_multiplier": "glmq.sampling.dry_multiplier",
    "dry_last_n": "glmq.sampling.dry_last_n",
    "mirostat": "general.sampling.mirostat",
    "mirostat_tau": "general.sampling.mirostat_tau",
    "mirostat_eta": "general.sampling.mirostat_eta",
}
"""The GGUF key of each setting that a file may recommend: gguf-py's (constants.py), and two of our own."""


def recommended(metadata: Mapping[str, Any]) -> Sampling:
    """The sampling for a GGUF file's metadata.

    First what the file itself says (`FILE_KEYS`), then what `OF_GLM` has for its version, then llama.cpp's
    defaults. Values in the file that make no sense are passed over.
    """
    sampling = replace(Sampling(), **OF_GLM.get(_version(metadata) or "", {}))
    for name, key in FILE_KEYS.items():
        if key in metadata:
            sampling = _with(sampling, name, metadata[key])
    return sampling


def _with(sampling: Sampling, name: str, value: Any) -> Sampling:
    from .from_text import steps_of

    try:
        if name == "order":
            return replace(sampling, order=steps_of(str(value)))
        # Files hold float32; 0.6 shall not become 0.6000000238.
        return replace(sampling, **{name: round(value, 6)})
    except (GlmqError, TypeError, ValueError):
        return sampling


def _version(metadata: Mapping[str, Any]) -> str | None:
    """The version of GLM that a file names, "4.7" where it is a GLM without one; None for other models."""
    architecture = metadata.get("general.architecture")
    if architecture not in ("glm4moe", "deepseek2"):
        return None
    name = " ".join(str(metadata.get(f"general.{key}", "")) for key in ("name", "basename", "version"))
    found = re.search(r"(?<![\d.])4[._-]([567])(?!\d)", name)
    if architecture == "deepseek2" and "glm" not in name.lower():
        return None  # a model of DeepSeek's own
    if found:
        return f"4.{found[1]}"
    return "4.7" if "glm" in name.lower() else None
