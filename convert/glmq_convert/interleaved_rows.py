"""The queries and keys of Llama as GGUF has them: the two halves of each head's rows in turn.

in the checkpoint    0   1   2  ...  h/2   h/2+1   h/2+2 ...     dimension i rotates with h/2 + i
in the file          0  h/2  1  h/2+1  2   h/2+2   ...           neighbours rotate
"""

from __future__ import annotations

import numpy as np

from .llama_config import LlamaConfig
from .plan import Weights
from .rope import frequency_divisors

MARK = " (rows interleaved)"
ROPE_DIVISORS = "divisors of rotary frequencies"
"""The name under which those of rope_type llama3 are read."""


def interleaved(source: str) -> str:
    """The name under which a matrix or bias of queries or keys is read in the file's order."""
    return source + MARK


class CheckpointWithInterleavedRows:
    """A checkpoint that also has the rows of each head interleaved, and the divisors of frequencies."""

    def __init__(self, weights: Weights, config: LlamaConfig) -> None:
        self._weights, self._head_dim = weights, config.head_dim
        self._order = np.arange(config.head_dim).reshape(2, -1).T.reshape(-1)
        scaling = config.rope_scaling
        if scaling is not None and scaling.type == "llama3":
            self._divisors = frequency_divisors(scaling, config.rope_theta, config.head_dim)

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions, outermost first."""
        return self._divisors.shape if name == ROPE_DIVISORS else self._weights.shape(name.removesuffix(MARK))

    def item_bytes(self, name: str) -> int:
        """Bytes of one weight."""
        return 4 if name == ROPE_DIVISORS else self._weights.item_bytes(name.removesuffix(MARK))

    def read(self, name: str, first_row: int, n_rows: int, buffer: np.ndarray) -> np.ndarray:
        """Rows of a tensor, as `plan.Weights` says; those of heads in the file's order."""
        if name == ROPE_DIVISORS:
            return self._divisors[None]
        if not name.endswith(MARK):
            return self._weights.read(name, first_row, n_rows, buffer)
        source, size = name.removesuffix(MARK), self._head_dim
        shape = self._weights.shape(source)
        if len(shape) == 1:
            bias = self._weights.read(source, 0, 1, buffer)
            return np.ascontiguousarray(bias.reshape(-1, size)[:, self._order].reshape(1, -1))
        first_head, end_head = first_row // size, -(-(first_row + n_rows) // size)
        n_read = (end_head - first_head) * size
        whole = np.empty(n_read * shape[1] * self._weights.item_bytes(source), np.uint8)
        read = self._weights.read(source, first_head * size, n_read, whole)
        wanted = np.arange(first_row, first_row + n_rows)
        rows: np.ndarray = read[wanted // size * size + self._order[wanted % size] - first_head * size]
        return rows
