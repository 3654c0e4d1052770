"""Weights to the bytes of a tensor type."""

from __future__ import annotations

import numpy as np

from ..arrays import address_of, zeros
from ..jit.store import kernel, packed
from .quantizers.arguments import SOURCE_KINDS, QuantizeRows
from .quantizers.grid_tables import FITS, grid_type
from .quantizers.table import QUANTIZERS
from .tensor_types import KERNEL_TYPES

TARGET_TYPES = tuple(QUANTIZERS)
"""Names of the tensor types that can be written."""

NEEDS_IMPORTANCE = frozenset(name for name, known in QUANTIZERS.items() if known.needs_importance)
"""Those of them that cannot be written without the importance of columns."""

LARGEST_HALF = 65504.0
LEAST_IMPORTANCE = np.float32(2.0**-24)
"""What takes the place of zeros, where the largest importance of a column is about 1."""
FLOATS_AT_ONCE = 32
"""Weights that kernels of float types take at once."""


class UnfitWeightError(ValueError):
    """A weight that is not a finite number, or that a tensor type cannot hold. Says which of the two."""


def quantize_rows(
    source: np.ndarray,
    type_name: str,
    out: np.ndarray | None = None,
    importance: np.ndarray | None = None,
) -> np.ndarray:
    """Rows of weights as the bytes of a tensor type: uint8 (rows, row bytes).

    source: (rows, columns), C-contiguous; float32, float16, ml_dtypes.bfloat16 or uint16 (the bits of
    bfloat16). columns must divide into the type's blocks. out: where to put the bytes (uint8, of the
    result's size, C-contiguous). importance: float32 (columns,), the mean of x² of each input column;
    errors of weights are weighed by it. Types that have no use for it ignore it. Runs on the calling
    thread, without the GIL.
    Raises UnfitWeightError, and ValueError for arguments that do not fit together.
    """
    rows, columns = source.shape
    if type_name not in QUANTIZERS:
        raise ValueError(f"cannot quantize to {type_name}")
    if columns % KERNEL_TYPES[type_name].block or not source.flags.c_contiguous:
        raise ValueError(f"rows of {columns} do not divide into {type_name} blocks, or are not contiguous")
    importance = _usable_importance(importance, type_name, columns)
    row_bytes = KERNEL_TYPES[type_name].row_bytes(columns)
    if out is None:
        out = zeros((rows, row_bytes), np.uint8)
    if out.nbytes != rows * row_bytes or out.dtype != np.uint8 or not out.flags.c_contiguous:
        raise ValueError(f"the output must be {rows * row_bytes} contiguous bytes")
    at_once = max(KERNEL_TYPES[type_name].block, FLOATS_AT_ONCE)
    whole = source.size // at_once * at_once
    kind = _source_kind(source)
    largest = _run(source, kind, whole, out, type_name, importance)
    if whole < source.size:  # only float types get here
        rest = zeros(at_once, source.dtype)
        rest[: source.size - whole] = source.reshape(-1)[whole:]
        converted = zeros(KERNEL_TYPES[type_name].row_bytes(at_once), np.uint8)
        largest = max(largest, _run(rest, kind, at_once, converted, type_name, None))
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


def _usable_importance(importance: np.ndarray | None, type_name: str, columns: int) -> np.ndarray | None:
    if importance is None:
        if type_name in NEEDS_IMPORTANCE:
            raise ValueError(f"{type_name} needs the importance of columns")
        return None
    if importance.shape != (columns,) or importance.dtype != np.float32:
        raise ValueError(
            f"the importance of {columns} columns must be as many float32, not"
            f" {importance.dtype} {importance.shape}"
        )
    if not (importance.min() >= 0 and np.isfinite(importance.max())):
        raise ValueError("the importance of a column must be a finite number, not below 0")
    return _in_proportion(importance) if QUANTIZERS[type_name].uses_importance else None


def _in_proportion(importance: np.ndarray) -> np.ndarray:
    """The same, the largest between 1/4 and 1, so that nothing becomes too small or large for a float.

    Zeros become very little instead: weights of zero would leave the scale of a block open. Where there is
    nothing else, all columns count the same.
    """
    if not importance.any():
        return np.ones_like(importance)
    exponent = np.frexp(importance.max())[1]
    scaled = np.ldexp(importance, -(exponent + exponent % 2))  # even, so that roots keep their bits too
    positive: np.ndarray = np.where(scaled > 0, scaled, LEAST_IMPORTANCE)
    return positive


def _run(
    source: np.ndarray,
    kind: str,
    n_weights: int,
    out: np.ndarray,
    type_name: str,
    importance: np.ndarray | None,
) -> int:
    """Quantize a number of weights; gives the bits of the largest magnitude."""
    quantizer = QUANTIZERS[type_name]
    largest, scratch = zeros(1, np.int64), zeros(quantizer.scratch, np.uint8)
    record = packed(
        QuantizeRows,
        source=address_of(source),
        source_kind=SOURCE_KINDS[kind],
        n_weights=n_weights,
        columns=source.shape[-1],
        out=address_of(out),
        importance=0 if importance is None else address_of(importance),
        type=address_of(grid_type(type_name)) if type_name in FITS else 0,
        scratch=address_of(scratch),
        largest=address_of(largest),
    )
    kernel(f"formats.quantizers.{quantizer.module}.quantize:{quantizer.variant or type_name}")(
        address_of(record)
    )
    return int(largest[0])


def _check(largest_bits: int, kind: str, type_name: str) -> None:
    largest, above = float(np.uint32(largest_bits).view(np.float32)), QUANTIZERS[type_name].above
    if not np.isfinite(largest) or (kind == "F16" and largest > LARGEST_HALF):
        raise UnfitWeightError("holds a value that is not a finite number")
    if largest >= above:
        raise UnfitWeightError(f"holds a value of magnitude {largest:.3g}, too large for {type_name}")
