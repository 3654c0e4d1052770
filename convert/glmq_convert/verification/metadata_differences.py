"""Metadata of GGUF files as plain values, and where two of them differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gguf
import numpy as np

from ..gguf_source import WRITTEN_ANEW, WRITTEN_ANEW_GROUPS, GGUFModel

LONGEST_SHOWN = 60


@dataclass(frozen=True)
class MetadataDifference:
    """A key whose values differ, each as a text that fits a line; None where it is not there."""

    key: str
    one: str | None
    other: str | None


def plain_metadata(model: GGUFModel) -> dict[str, Any]:
    """A file's metadata: numbers, truth values, text, and lists of these (text in them as bytes)."""
    return {key: _plain(value) for key, value in model.metadata.items()}


def planned_metadata(header: gguf.GGUFWriter) -> dict[str, Any]:
    """That of a header which is not written yet."""
    return {key: _plain(value.value) for key, value in header.kv_data[0].items()}


def says_how_it_is_written(key: str) -> bool:
    """Whether a key is about the file rather than the model."""
    return key != "general.architecture" and (key in WRITTEN_ANEW or key.startswith(WRITTEN_ANEW_GROUPS))


def metadata_differences(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[MetadataDifference]:
    """Keys that only one has or whose values differ, in the order of the first, then of the other."""
    return [
        MetadataDifference(key, _shown(one, key, other), _shown(other, key, one))
        for key in dict.fromkeys([*one, *other])
        if key not in one or key not in other or not _same(one[key], other[key])
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if hasattr(value, "bytes_at"):
        return [value.bytes_at(i) for i in range(len(value))]
    if isinstance(value, (list, tuple)):
        return [each.encode() if isinstance(each, str) else each for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) or isinstance(other, float):
        return bool(np.float32(one) == np.float32(other)) if _are_numbers(one, other) else False
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, (int, float)) for value in values)


def _shown(values: Mapping[str, Any], key: str, beside: Mapping[str, Any]) -> str | None:
    """A value for a line; of a long list the first element that differs from the other's."""
    if key not in values:
        return None
    value, other = values[key], beside.get(key)
    if isinstance(value, list):
        if not isinstance(other, list):
            return f"{len(value)} elements"
        at = next((i for i, (a, b) in enumerate(zip(value, other, strict=False)) if not _same(a, b)), None)
        if at is None:
            return f"{len(value)} elements"
        return f"{len(value)} elements, element {at} is {_short(value[at])}"
    return _short(value)


def _short(value: Any) -> str:
    text = repr(value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text)} characters)"
