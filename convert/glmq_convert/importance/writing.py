"""Writing an importance matrix, whole or not at all."""

from __future__ import annotations

from pathlib import Path

from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import Kind, Target, cannot_be_written, check_target, replacing

from .gguf_form import write_gguf
from .importance import Importance
from .reading import read_importance


def importance_target(path: Path, *, force: bool = False) -> Target:
    """A place for an importance matrix, which may replace another one. Raises GlmqError."""
    return check_target(path, Kind("an importance matrix", _is_importance), force=force)


def write_importance(importance: Importance, target: Target) -> None:
    """Write a file in GGUF form. Raises GlmqError where that cannot be done; what was there is kept then."""
    try:
        with replacing(target) as unfinished:
            write_gguf(importance, unfinished)
    except OSError as error:
        raise cannot_be_written(target.path, error) from None


def _is_importance(file: Path) -> bool:
    try:
        read_importance(file)
    except GlmqError:
        return False
    return True
