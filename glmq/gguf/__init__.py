"""GGUF files: metadata in milliseconds, tensors as views on a read-only mapping."""

from __future__ import annotations

from .described_file import RangedFile, open_described
from .errors import GET_IT_AGAIN, GGUFError
from .file import GGUFFile, open_gguf
from .string_array import StringArray
from .tensors import TensorInfo

__all__ = [
    "GET_IT_AGAIN",
    "GGUFError",
    "GGUFFile",
    "RangedFile",
    "StringArray",
    "TensorInfo",
    "open_described",
    "open_gguf",
]
