"""What a GGUF file holds beside its tensors, before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gguf
import numpy as np

from ..plan import PlannedTensor

FIXED = 4096
"""Bytes for the beginning, the last paddings and keys that are set later."""


def overhead(header: gguf.GGUFWriter, tensors: Sequence[PlannedTensor]) -> int:
    """Bytes of metadata, tensors' descriptions and paddings: a little more than there will be."""
    metadata = sum(
        len(key) + 12 + _value_bytes(value.value) for part in header.kv_data for key, value in part.items()
    )
    of_a_tensor = 8 + 4 + 8 * 4 + 4 + 8 + int(gguf.GGUF_DEFAULT_ALIGNMENT)
    return FIXED + metadata + sum(len(tensor.name) + of_a_tensor for tensor in tensors)


def _value_bytes(value: Any) -> int:
    if isinstance(value, (str, bytes)):
        return 8 + len(value.encode() if isinstance(value, str) else value)
    if isinstance(value, (list, tuple, np.ndarray)):
        return 12 + sum(map(_value_bytes, value))
    return 8
