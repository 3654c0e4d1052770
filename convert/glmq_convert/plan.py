"""The plan of a GGUF file's tensors: what each is called, its type, and which rows it is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from glmq_kernels.formats.tensor_types import KERNEL_TYPES

LATENT = (".attn_k_b.weight", ".attn_v_b.weight")
"""Endings of the matrices from which latent attention has its keys and values."""


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
    """A tensor of the file: `shape` outermost first, its rows those of `pieces` in order."""

    name: str
    shape: tuple[int, ...]
    type: str
    pieces: tuple[Piece, ...]

    @property
    def columns(self) -> int:
        """Weights of a row."""
        return self.shape[-1]

    @property
    def row_bytes(self) -> int:
        """Bytes of a row in the file."""
        return KERNEL_TYPES[self.type].row_bytes(self.columns)

    @property
    def n_bytes(self) -> int:
        """Bytes of the tensor in the file, without padding."""
        return math.prod(self.shape[:-1]) * self.row_bytes


def planned_tensor(
    name: str, shape: tuple[int, ...], pieces: Iterable[Piece], type_name: str
) -> PlannedTensor:
    """A tensor with the type it gets in a file of type `type_name`."""
    return PlannedTensor(name, shape, tensor_type(name, shape, type_name), tuple(pieces))


def tensor_type(name: str, shape: tuple[int, ...], type_name: str) -> str:
    """The type of a tensor in a file of type `type_name`, as llama.cpp's conversion decides it.

    Vectors, norms, router matrices and everything but weights stay F32. Where rows do not divide into
    the type's blocks the tensor becomes F16. The small matrices that every key and value of latent attention
    goes through are kept finer than llama.cpp has them: no quantized type below Q8_0.
    """
    always_float = len(shape) == 1 or name.endswith("_norm.weight") or not name.endswith(".weight")
    if always_float or name.endswith("ffn_gate_inp.weight"):
        return "F32"
    if name.endswith(LATENT) and not KERNEL_TYPES[type_name].is_float:
        type_name = "Q8_0"
    return type_name if shape[-1] % KERNEL_TYPES[type_name].block == 0 else "F16"
