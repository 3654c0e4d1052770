"""Which experts of a model file were used how often, kept in the cache folder for the next start."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import check_target, write_file
from glmq_kernels.jit.cache_folder import cache_folder

from .expert_cache import Expert

FADING = 0.5
"""What earlier sessions' counts are worth beside this one's."""


def profile_path(identity: str) -> Path:
    """Where the profile of a model file is; the file's identity is `GGUFFile.identity`."""
    return cache_folder() / "experts" / f"{hashlib.sha256(identity.encode()).hexdigest()[:20]}.json"


def load_profile(path: Path, n_layers: int, n_experts: int) -> np.ndarray:
    """Uses of each expert, float64 (n_layers, n_experts); zeros where there is no (whole) profile."""
    nothing = np.zeros((n_layers, n_experts))
    try:
        uses = np.array(json.loads(path.read_text())["uses"], np.float64)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        return nothing
    return uses if uses.shape == nothing.shape and np.isfinite(uses).all() else nothing


def save_profile(path: Path, earlier: np.ndarray, uses: np.ndarray) -> None:
    """Write earlier uses, faded, plus this session's. That it cannot be written is no error."""
    if not uses.any():
        return
    total = np.round(FADING * earlier + uses, 1)
    with contextlib.suppress(OSError, GlmqError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_file(check_target(path, force=True), json.dumps({"uses": total.tolist()}).encode())


def likeliest(uses: np.ndarray) -> dict[Expert, float]:
    """Experts that were used, and how often, most often used first."""
    order = np.argsort(-uses, axis=None, kind="stable")
    places = [divmod(int(place), uses.shape[1]) for place in order]
    return {place: float(uses[place]) for place in places if uses[place] > 0}
