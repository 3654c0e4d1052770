"""Values as JSON's types alone: what chat templates and checks of messages may meet."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from glmq_kernels.errors import GlmqError


def plain_data(value: Any, what: str = "the value") -> Any:
    """A copy made of JSON's types, so that a template meets no methods of other objects.

    Dataclasses and objects of OpenAI's client become dictionaries, numpy's numbers become numbers. Raises
    GlmqError for what is no data, such as an image or bytes; `what` names the value in it.
    """
    try:
        return _plain(value, what)
    except RecursionError:
        raise GlmqError(f"{what} is nested too deeply") from None


def _plain(value: Any, what: str) -> Any:
    if value is None or type(value) in (str, int, float, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int.__int__(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, Mapping):
        return {_plain(key, what): _plain(item, what) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, what) for item in value]
    if isinstance(value, tuple):
        return tuple(_plain(item, what) for item in value)
    if isinstance(value, np.generic):
        return _plain(value.item(), what)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), what) for field in dataclasses.fields(value)}
    if callable(getattr(value, "model_dump", None)) and not isinstance(value, type):
        return _plain(value.model_dump(), what)
    raise GlmqError(
        f"{what} holds an object of the type {type(value).__name__}; only text and JSON's types can be read"
    )
