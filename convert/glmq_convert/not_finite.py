"""Weights that are no finite numbers: NaN and infinities."""

from __future__ import annotations

import numpy as np

from .plan import PlannedTensor, Weights
from .portions import portions

_EXPONENT_OF_BFLOAT16 = 0x7F80


def not_finite(rows: np.ndarray) -> np.ndarray:
    """Which weights are NaN or infinite, bool. rows: as `plan.Weights` reads them, no blocks of a type."""
    if rows.dtype == np.uint16:
        found: np.ndarray = (rows & _EXPONENT_OF_BFLOAT16) == _EXPONENT_OF_BFLOAT16
        return found
    found = ~np.isfinite(rows)
    return found


def without_not_finite(rows: np.ndarray) -> np.ndarray:
    """The weights with 0 in the place of those that are not finite."""
    zero = rows.dtype.type(0)  # bfloat16 has the same bits for it
    return np.where(not_finite(rows), zero, rows)


def count_not_finite(tensor: PlannedTensor, weights: Weights, source: str) -> int:
    """How many weights that a tensor takes from a source are not finite."""
    buffer = np.empty(0, np.uint8)
    count = 0
    for portion in portions(0, [tensor], weights, 0):
        if portion.source == source:
            n_bytes = portion.n_rows * tensor.columns * weights.item_bytes(source)
            buffer = buffer if buffer.nbytes >= n_bytes else np.empty(n_bytes, np.uint8)
            rows = weights.read(source, portion.first_row, portion.n_rows, buffer)
            count += int(np.count_nonzero(not_finite(rows)))
    return count
