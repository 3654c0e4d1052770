"""The list of tensors in a GGUF header, checked to lie in the file, one after another."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace

from glmq_kernels.formats.tensor_types import TENSOR_TYPES, TYPE_NAMES

from .errors import GGUFError
from .header_reader import HeaderReader
from .refused_types import why_refused

MOST_DIMENSIONS = 4  # ggml's own limit


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies and what it is.

    type: a name in `TENSOR_TYPES`. shape: as numpy has it, the contiguous dimension (a row's columns)
    last, which is the reverse of the order in the file. offset: position of the first byte in its file.
    n_bytes: size. file_index: which part of a split model holds it, from 0.
    """

    name: str
    type: str
    shape: tuple[int, ...]
    offset: int
    n_bytes: int
    file_index: int

    @property
    def n_elements(self) -> int:
        """Number of weights."""
        return math.prod(self.shape)


def read_tensor(reader: HeaderReader, index: int, file_index: int) -> TensorInfo:
    """Read one entry of the list; its `offset` still counts from the start of the tensor data."""
    name = reader.name(f"the name of tensor {index}")
    what = f"tensor {name!r}"
    (n_dimensions,) = reader.unpack("<I", what)
    if n_dimensions > MOST_DIMENSIONS:
        raise reader.damaged(f"{what} claims {n_dimensions} dimensions")
    *dimensions, type_number, offset = reader.unpack(f"<{n_dimensions}QIQ", what)
    shape = tuple(reversed(dimensions))
    if 0 in shape:
        raise reader.damaged(f"{what} has no elements, its shape is {shape}")
    if type_number not in TYPE_NAMES:
        raise GGUFError(f"{reader.path}: {what} has the {why_refused(type_number)}")
    tensor_type = TENSOR_TYPES[TYPE_NAMES[type_number]]
    if (shape[-1] if shape else 1) % tensor_type.block:
        raise reader.damaged(
            f"{what} of type {tensor_type.name} has rows of {shape[-1] if shape else 1},"
            f" not a multiple of {tensor_type.block}"
        )
    n_bytes = tensor_type.row_bytes(math.prod(shape))
    return TensorInfo(name, tensor_type.name, shape, offset, n_bytes, file_index)


def check_layout(
    reader: HeaderReader, infos: list[TensorInfo], data_start: int, alignment: int
) -> dict[str, TensorInfo]:
    """The tensors by name, in the order of the file, `offset` counted from the start of the file.

    Raises GGUFError when one is misaligned, outside the file or there twice, or when two overlap.
    """
    tensors: dict[str, TensorInfo] = {}
    for info in infos:
        what = f"tensor {info.name!r}"
        if info.name in tensors:
            raise reader.damaged(f"{what} is there twice")
        if info.offset % alignment:
            raise reader.damaged(f"{what} starts at {info.offset}, not a multiple of {alignment}")
        end = data_start + info.offset + info.n_bytes
        if end > reader.file_bytes:
            raise reader.damaged(f"{what} should end at byte {end}, the file ends at {reader.file_bytes}")
        tensors[info.name] = replace(info, offset=data_start + info.offset)
    in_order = sorted(tensors.values(), key=lambda info: info.offset)
    for first, second in itertools.pairwise(in_order):
        if first.offset + first.n_bytes > second.offset:
            raise reader.damaged(f"tensors {first.name!r} and {second.name!r} overlap")
    return tensors
