"""Metadata that the user sets: `key=value`, or `key=type:value` as llama.cpp writes it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import gguf
import numpy as np
from gguf import GGUFValueType
from glmq_kernels.errors import GlmqError

from .json_fields import shown

Value = str | int | float | bool

PREFIXES = {
    "str": GGUFValueType.STRING, "int": GGUFValueType.INT32, "float": GGUFValueType.FLOAT32,
    "bool": GGUFValueType.BOOL,
}  # fmt: skip
"""What may stand before a value, and the type that it gets."""

WHOLE = {
    GGUFValueType.UINT8: (0, 0xFF), GGUFValueType.INT8: (-0x80, 0x7F),
    GGUFValueType.UINT16: (0, 0xFFFF), GGUFValueType.INT16: (-0x8000, 0x7FFF),
    GGUFValueType.UINT32: (0, 0xFFFFFFFF), GGUFValueType.INT32: (-0x80000000, 0x7FFFFFFF),
    GGUFValueType.UINT64: (0, (1 << 64) - 1), GGUFValueType.INT64: (-(1 << 63), (1 << 63) - 1),
}  # fmt: skip
"""The least and the greatest of each type of whole numbers."""

FIXED = ("general.architecture", "general.alignment", "general.file_type", "general.quantization_version")
FIXED_GROUPS = ("split.", "quantize.imatrix.")
"""Keys, and beginnings of keys, that follow from how the file is written."""

LONGEST_KEY = (1 << 16) - 1
"""Bytes, as GGUF has it."""

LARGEST_FLOAT32 = float(np.finfo(np.float32).max)

TRUTH = {"true": True, "false": False}


def set_metadata(header: gguf.GGUFWriter, values: Mapping[str, Value]) -> None:
    """Set keys of a header.

    A text may begin with its type (int:, float:, bool:, str:); else it gets the type that the key has in the
    header, and a new key a text. Raises GlmqError for keys that cannot be set, and values of another type.
    """
    for key, value in values.items():
        if not 0 < len(key.encode(errors="replace")) <= LONGEST_KEY or not _is_unicode(key):
            raise _refused(key, "which is no key")
        if key in FIXED or key.startswith(FIXED_GROUPS):
            raise _refused(key, "which follows from how the file is written")
        known = header.kv_data[0].get(key)
        kind, plain = _typed(key, value, known.type if known else None)
        header.kv_data[0].pop(key, None)
        header.add_key_value(key, plain, kind)


def _is_unicode(text: str) -> bool:
    """Whether it has no half characters, which stand for bytes of a command line that are no UTF-8."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


def _typed(key: str, value: Value, known: GGUFValueType | None) -> tuple[GGUFValueType, Any]:
    if known == GGUFValueType.ARRAY:
        raise _refused(key, "which is a list there")
    if not isinstance(value, str):
        kinds = {bool: GGUFValueType.BOOL, int: GGUFValueType.INT32, float: GGUFValueType.FLOAT32}
        return _checked(key, str(value).lower(), known or kinds[type(value)])
    prefix, colon, rest = value.partition(":")
    if colon and prefix in PREFIXES:
        kind = PREFIXES[prefix]
        same = known is not None and _family(known) == _family(kind)
        return _checked(key, rest, known if same else kind)
    return _checked(key, value, known or GGUFValueType.STRING)


def _family(kind: GGUFValueType) -> str:
    if kind in WHOLE:
        return "whole"
    return "float" if kind in (GGUFValueType.FLOAT32, GGUFValueType.FLOAT64) else str(kind)


def _checked(key: str, text: str, kind: GGUFValueType) -> tuple[GGUFValueType, Any]:
    try:
        if kind == GGUFValueType.STRING:
            if not _is_unicode(text):
                raise ValueError
            return kind, text
        if kind == GGUFValueType.BOOL:
            return kind, TRUTH[text.lower()]
        if kind in WHOLE:
            least, most = WHOLE[kind]
            if not least <= int(text) <= most:
                raise ValueError
            return kind, int(text)
        number = float(text)
        if kind == GGUFValueType.FLOAT32 and LARGEST_FLOAT32 < abs(number) < math.inf:
            raise ValueError
        return kind, number
    except (KeyError, ValueError):
        raise GlmqError(
            f"{shown(text)} is no value for {key}, which is of GGUF's type {kind.name}", setting="metadata"
        ) from None


def _refused(key: str, why: str) -> GlmqError:
    return GlmqError(f"metadata {shown(key)} cannot be set, {why}", setting="metadata")
