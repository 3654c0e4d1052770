"""A GGUF file as what another is made from: its metadata and tokenizer as they are, its tensors by rows."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import gguf
import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.ops.embedding.dequantized_rows import dequantize_rows

from .plan import Piece, PlannedTensor

WRITTEN_ANEW = (
    "general.architecture", "general.alignment", "general.file_type", "general.quantization_version",
)  # fmt: skip
"""Keys that say how a file is written, and so are not taken over from another."""

WRITTEN_ANEW_GROUPS = ("split.", "quantize.")
"""Beginnings of such keys."""

FLOATS: dict[str, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(np.uint16),
    "F64": np.dtype(np.float64),
}
"""Types of floats, and the arrays they are read as (bfloat16 as its bits)."""

READABLE = {*KERNEL_TYPES, *FLOATS}


class GGUFTensor(Protocol):
    """What a tensor of the file is."""

    @property
    def type(self) -> str:
        """Name of its type, such as Q4_K."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Dimensions, outermost first."""

    @property
    def file_index(self) -> int:
        """Which of the model's files holds it."""


class GGUFModel(Protocol):
    """An open GGUF model, of one file or split into several."""

    @property
    def path(self) -> Path:
        """Of the file that was opened."""

    @property
    def paths(self) -> Sequence[Path]:
        """Of all its files, in order."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Numbers, texts, arrays of numbers, and sequences of strings that also give `bytes_at(index)`."""

    @property
    def value_types(self) -> Mapping[str, str]:
        """GGUF's names of the types of metadata, such as "uint32" and "array of string"."""

    @property
    def tensors(self) -> Mapping[str, GGUFTensor]:
        """By name, in the order of the file."""

    def data(self, name: str) -> np.ndarray:
        """The bytes of a tensor, uint8 (n,)."""


def copied_header(model: GGUFModel) -> gguf.GGUFWriter:
    """The header of a new file with all metadata of the model but what says how its file is written.

    Empty arrays are left out: the gguf package writes none. Raises GlmqError when the model does not say its
    architecture.
    """
    architecture = model.metadata.get("general.architecture")
    if not isinstance(architecture, str):
        raise GlmqError(f"{model.path}: general.architecture is missing; the file is not a complete model")
    header = gguf.GGUFWriter(None, architecture)
    for key, value in model.metadata.items():
        if key in WRITTEN_ANEW or key.startswith(WRITTEN_ANEW_GROUPS):
            continue
        kind, _, element = model.value_types[key].upper().partition(" OF ")
        sub_type = gguf.GGUFValueType[element] if element else None
        plain = _plain(value) if element else value
        if plain != []:
            header.add_key_value(key, plain, gguf.GGUFValueType[kind], sub_type)
    return header


def _plain(values: Any) -> list[Any]:
    """The elements of an array; strings as their bytes, which need not be UTF-8."""
    if isinstance(values, np.ndarray):
        return list(values.tolist())
    return [values.bytes_at(i) for i in range(len(values))]


def plan_copies(model: GGUFModel) -> list[PlannedTensor]:
    """Every tensor of the model, in the order of its file, with the type that it has (F32 where that is F64).

    Raises GlmqError for a tensor of a type that cannot be written.
    """
    planned = []
    for name, tensor in model.tensors.items():
        shape = tensor.shape or (1,)
        n_rows = math.prod(shape[:-1])
        if tensor.type not in READABLE:
            raise GlmqError(
                f"{model.path}: tensor {name} is stored as {tensor.type}, which glmq does not read;"
                " make the file from one of another type"
            )
        type_name = tensor.type if tensor.type in KERNEL_TYPES else "F32"
        planned.append(PlannedTensor(name, shape, (Piece(name, 0, n_rows),), type_name))
    return planned


class GGUFWeights:
    """The weights of a GGUF model, by rows (`plan.Weights`).

    tensors: as they will be written; those that keep their type keep their very blocks.
    """

    def __init__(self, model: GGUFModel, tensors: Iterable[PlannedTensor]) -> None:
        self._model = model
        self._kept: Collection[str] = {
            piece.source
            for tensor in tensors
            for piece in tensor.pieces
            if model.tensors[piece.source].type == tensor.type
        }

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a tensor, outermost first."""
        return self._model.tensors[name].shape or (1,)

    def item_bytes(self, name: str) -> int:
        """Bytes of one weight as `read` gives it, at most."""
        stored = self._model.tensors[name].type
        return FLOATS[stored].itemsize if stored in FLOATS else 4

    def read(self, name: str, first_row: int, n_rows: int, buffer: np.ndarray) -> np.ndarray:
        """Rows of a tensor, as `plan.Weights` says; floats, and what is kept, where they lie in the file."""
        stored, data = self._model.tensors[name].type, self._model.data(name)
        columns = self.shape(name)[-1]
        row_bytes = data.nbytes // math.prod(self.shape(name)[:-1])
        rows = data[first_row * row_bytes : (first_row + n_rows) * row_bytes].reshape(n_rows, row_bytes)
        if name in self._kept:
            return rows
        if stored == "F64":
            return rows.view(np.float64).astype(np.float32)
        if stored in FLOATS:
            return rows.view(FLOATS[stored])
        out = buffer[: 4 * n_rows * columns].view(np.float32).reshape(n_rows, columns)
        return dequantize_rows(rows, stored, out)
