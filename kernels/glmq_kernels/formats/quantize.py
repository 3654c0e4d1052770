"""Weights to the bytes of a tensor type, as `gguf.quants` makes them, bit for bit."""

from __future__ import annotations

import numpy as np

from ..arrays import address_of, zeros
from ..jit.store import kernel, packed
from .quantize_arguments import BLOCK, SOURCE_KINDS, QuantizeBlocks
from .tensor_types import KERNEL_TYPES

TARGET_TYPES = ("F32", "F16", "BF16", "Q8_0", "Q4_0")
LARGEST_HALF = 65504.0

_ABOVE = {  # magnitudes from here on become infinite in (the scales of) a type
    "F32": np.inf,
    "F16": 65520.0,
    "BF16": float(np.uint32(0x7F7F8000).view(np.float32)),
    "Q8_0": 65520.0 * 127,
    "Q4_0": 65520.0 * 8,
}


class UnfitWeightError(ValueError):
    """A weight that is not a finite number, or that a tensor type cannot hold. Says which of the two."""


def quantize_rows(source: np.ndarray, type_name: str, out: np.ndarray | None = None) -> np.ndarray:
    """Rows of weights as the bytes of a tensor type: uint8 (rows, row bytes).

    source: (rows, columns), C-contiguous; float32, float16, ml_dtypes.bfloat16 or uint16 (the bits of
    bfloat16). columns must divide into the type's blocks. out: where to put the bytes (uint8, of the
    result's size, C-contiguous). Runs on the calling thread, without the GIL.
    Raises UnfitWeightError, and ValueError for arguments that do not fit together.
    """
    rows, columns = source.shape
    kind = _source_kind(source)
    if type_name not in TARGET_TYPES:
        raise ValueError(f"cannot quantize to {type_name}")
    if columns % KERNEL_TYPES[type_name].block or not source.flags.c_contiguous:
        raise ValueError(f"rows of {columns} do not divide into {type_name} blocks, or are not contiguous")
    row_bytes = KERNEL_TYPES[type_name].row_bytes(columns)
    if out is None:
        out = zeros((rows, row_bytes), np.uint8)
    if out.nbytes != rows * row_bytes or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ValueError(f"the output must be {rows * row_bytes} contiguous bytes")
    whole = source.size // BLOCK * BLOCK
    largest = _run(source, kind, whole // BLOCK, out, type_name)
    if whole < source.size:  # a last part of a block: only the float types get here
        rest = zeros(BLOCK, source.dtype)
        rest[: source.size - whole] = source.reshape(-1)[whole:]
        converted = zeros(KERNEL_TYPES[type_name].row_bytes(BLOCK), np.uint8)
        largest = max(largest, _run(rest, kind, 1, converted, type_name))
        target = out.reshape(-1)[KERNEL_TYPES[type_name].row_bytes(whole) :]
        target[:] = converted[: target.size]
    _check(largest, kind, type_name)
    return out.reshape(rows, row_bytes)


def _source_kind(source: np.ndarray) -> str:
    if source.dtype == np.float32:
        return "F32"
    if source.dtype == np.float16:
        return "F16"
    if source.dtype == np.uint16 or source.dtype.name == "bfloat16":
        return "BF16"
    raise ValueError(f"weights of type {source.dtype} cannot be quantized")


def _run(source: np.ndarray, kind: str, n_blocks: int, out: np.ndarray, type_name: str) -> int:
    """Quantize whole blocks; gives the bits of the largest magnitude."""
    largest = zeros(1, np.int64)
    record = packed(
        QuantizeBlocks,
        source=address_of(source),
        source_kind=SOURCE_KINDS[kind],
        n_blocks=n_blocks,
        out=address_of(out),
        largest=address_of(largest),
    )
    kernel(f"formats.quantize_kernel.blocks:{type_name}")(address_of(record))
    return int(largest[0])


def _check(largest_bits: int, kind: str, type_name: str) -> None:
    largest = float(np.uint32(largest_bits).view(np.float32))
    if not np.isfinite(largest) or (kind == "F16" and largest > LARGEST_HALF):
        raise UnfitWeightError("holds a value that is not a finite number")
    if largest >= _ABOVE[type_name]:
        raise UnfitWeightError(f"holds a value of magnitude {largest:.3g}, too large for {type_name}")
