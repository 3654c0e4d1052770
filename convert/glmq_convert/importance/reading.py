"""Reading an importance matrix from a file of either form."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
from glmq_kernels.errors import GlmqError

from .dat_form import read_dat
from .gguf_form import MAGIC, read_gguf
from .importance import Importance


def read_importance(path: str | os.PathLike[str]) -> Importance:
    """Read a file in GGUF form, or in the older .dat form. Raises GlmqError in one line."""
    file = Path(path)
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            raise GlmqError(f"{file} is not a file that could hold an importance matrix; name another")
        with open(file, "rb") as opened:
            start = opened.read(len(MAGIC))
        importance = read_gguf(file) if start == MAGIC else read_dat(file)
    except OSError as error:
        raise GlmqError(f"{file} cannot be read: {error.strerror or error}") from None
    _check(importance)
    return importance


def _check(importance: Importance) -> None:
    """Refuse numbers that no squares add up to."""
    if not importance.tensors:
        raise GlmqError(f"{importance.file} holds no importance of any tensor; make or download it again")
    for name, found in importance.tensors.items():
        if not (np.isfinite(found.sums).all() and (found.sums >= 0).all() and (found.counts >= 0).all()):
            raise GlmqError(
                f"{importance.file}: the sums or counts of {name} are negative or not finite;"
                " make or download it again"
            )
