"""Metadata values of a required type, or an error that names the key."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .errors import GGUFError


def integer(
    metadata: Mapping[str, Any], path: Path, key: str, default: int | None = None, least: int = 0
) -> int:
    """An integer from `least` up; GGUFError when it is missing without a default, or something else.

    An array that gives every layer the same integer counts as that.
    """
    value = _same_everywhere(path, key, _value(metadata, path, key, default))
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong(path, key, "an integer", value)
    if value < least:
        raise _wrong(path, key, f"at least {least}", value)
    return value


def number(
    metadata: Mapping[str, Any], path: Path, key: str, default: float | None = None, least: float = -math.inf
) -> float:
    """A finite number from `least` up, integers included; GGUFError otherwise."""
    value = _value(metadata, path, key, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise _wrong(path, key, "a number", value)
    if value < least:
        raise _wrong(path, key, f"at least {least}", value)
    return float(value)


def boolean(metadata: Mapping[str, Any], path: Path, key: str, default: bool | None = None) -> bool:
    """A truth value; GGUFError otherwise."""
    value = _value(metadata, path, key, default)
    if not isinstance(value, bool):
        raise _wrong(path, key, "true or false", value)
    return value


def text(metadata: Mapping[str, Any], path: Path, key: str, default: str | None = None) -> str:
    """A string; GGUFError otherwise."""
    value = _value(metadata, path, key, default)
    if not isinstance(value, str):
        raise _wrong(path, key, "text", value)
    return value


def _value(metadata: Mapping[str, Any], path: Path, key: str, default: Any) -> Any:
    value = metadata.get(key, default)
    if value is None:
        raise GGUFError(f"{path}: the metadata lacks {key}; the file is not complete, get another one")
    return value


def _same_everywhere(path: Path, key: str, value: Any) -> Any:
    if not isinstance(value, np.ndarray) or not len(value) or value.dtype.kind not in "iu":
        return value
    if (value != value[0]).any():
        raise GGUFError(
            f"{path}: {key} differs from layer to layer ({value.min()} to {value.max()}), which glmq does not"
            " compute; choose another model"
        )
    return value[0].item()


def _wrong(path: Path, key: str, wanted: str, value: Any) -> GGUFError:
    if isinstance(value, (bool, int, float)):
        found = repr(value)
    elif isinstance(value, str):
        found = repr(value if len(value) <= 40 else value[:40] + "…")
    else:
        found = f"an array of {len(value)}"
    return GGUFError(f"{path}: {key} must be {wanted}, but it is {found}; the file is wrong, get another one")
