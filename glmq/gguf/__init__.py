"""GGUF files: metadata in milliseconds, tensors as views on a read-only mapping."""

from __future__ import annotations

from .errors import GET_IT_AGAIN, GGUFError
from .file import GGUFFile, open_gguf
from .strings import StringArray
from .tensors import TensorInfo
from .types import TENSOR_TYPES, TensorType

__all__ = [
    "GET_IT_AGAIN",
    "TENSOR_TYPES",
    "GGUFError",
    "GGUFFile",
    "StringArray",
    "TensorInfo",
    "TensorType",
    "open_gguf",
]
