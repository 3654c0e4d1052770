"""The plan of a GGUF file's tensors: what each is called, its type, and which rows it is made of."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from glmq_kernels.formats.tensor_types import KERNEL_TYPES


class Weights(Protocol):
    """Named tensors that can be read by rows: a checkpoint on disk, or anything that acts like one."""

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions, outermost first."""

    def item_bytes(self, name: str) -> int:
        """Bytes of one weight as `read` gives it, at most."""

    def read(self, name: str, first_row: int, n_rows: int, buffer: np.ndarray) -> np.ndarray:
        """(n_rows, columns) weights, in `buffer` (uint8, large enough) or elsewhere.

        float32, float16, or uint16 holding the bits of bfloat16; or uint8 (n_rows, row bytes) that are
        in the planned tensor's type already. Must be safe from many threads.
        """


@dataclass(frozen=True)
class Piece:
    """Consecutive rows of a source tensor."""

    source: str
    first_row: int
    n_rows: int


@dataclass(frozen=True)
class PlannedTensor:
    """A tensor of the file: `shape` outermost first, its rows those of `pieces` in order.

    type: F32 until it is chosen (`mixes.choose_types`). importance: float32 (matrices, columns), the mean of
    the squares that each column of each matrix meets, where that is known.
    """

    name: str
    shape: tuple[int, ...]
    pieces: tuple[Piece, ...]
    type: str = "F32"
    importance: np.ndarray | None = field(default=None, compare=False, repr=False)

    @property
    def columns(self) -> int:
        """Weights of a row."""
        return self.shape[-1]

    @property
    def matrix_rows(self) -> int:
        """Rows of each of its matrices (experts, heads), of which most tensors are one."""
        return self.shape[-2] if len(self.shape) > 1 else 1

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the file."""
        return KERNEL_TYPES[self.type].row_bytes(self.columns)

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensor in the file, without padding."""
        return math.prod(self.shape[:-1]) * self.row_bytes
