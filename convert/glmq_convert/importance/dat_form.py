"""Importance matrices in the form that llama.cpp wrote before GGUF, usually called imatrix.dat.

    n_entries i32
    each entry:  length i32, name | n_calls i32 | n_values i32 | f32 (n_values,)
    at the end, in younger files:  n_chunks i32 | length i32, name of the text

A value is the mean of x² of a column times n_calls, and just n_calls where no token went to an expert.
Numbers of tokens are not kept: a call is a chunk of text, which is taken to be of 512 tokens.
"""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from glmq_kernels.errors import GlmqError

from .importance import Importance, TensorSums

CHUNK_SIZE = 512
LONGEST_NAME = 1024


class _Damaged(Exception):
    """What is wrong with a file."""


class _Bytes:
    """Bytes that are taken from the front."""

    def __init__(self, content: bytes) -> None:
        self._content, self._position = content, 0

    @property
    def left(self) -> int:
        return len(self._content) - self._position

    def take(self, n: int) -> bytes:
        if not 0 <= n <= self.left:
            raise _Damaged("it ends too early")
        self._position += n
        return self._content[self._position - n : self._position]

    def number(self) -> int:
        return int(struct.unpack("<i", self.take(4))[0])

    def text(self, longest: int) -> str:
        n = self.number()
        if not 0 <= n <= longest:
            raise _Damaged(f"it claims a name of {n} bytes")
        return self.take(n).decode("utf-8", "replace")


def read_dat(path: Path) -> Importance:
    """Read a file. Raises GlmqError for one that is damaged or of another form, OSError."""
    content = _Bytes(path.read_bytes())
    try:
        n_entries = content.number()
        if not 0 < n_entries <= content.left // 12:
            raise _Damaged(f"it claims {n_entries} entries")
        tensors = dict(_entry(content) for _ in range(n_entries))
        n_chunks = content.number() if content.left >= 4 else 0
        dataset = content.text(content.left) if content.left >= 4 else ""
    except _Damaged as wrong:
        raise GlmqError(
            f"{path} is no importance matrix, or a damaged one ({wrong}); name another file"
        ) from None
    datasets = (dataset,) if dataset else ()
    return Importance(str(path), datasets, max(0, n_chunks), CHUNK_SIZE, tensors)


def _entry(content: _Bytes) -> tuple[str, TensorSums]:
    name = content.text(LONGEST_NAME)
    n_calls, n_values = content.number(), content.number()
    if n_calls < 0 or n_values <= 0:
        raise _Damaged(f"{name!r} has {n_values} values of {n_calls} calls")
    values = np.frombuffer(content.take(4 * n_values), "<f4")
    counts = np.array([n_calls * CHUNK_SIZE], np.int64)
    return name, TensorSums((values * np.float32(CHUNK_SIZE)).reshape(1, -1), counts)
