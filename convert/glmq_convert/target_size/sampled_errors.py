"""How far each type is from the weights of a tensor, measured on some of its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from threading import BoundedSemaphore

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.quantize import NEEDS_IMPORTANCE, TARGET_TYPES, UnfitWeightError, quantize_rows
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.machine.cores import processor_count
from glmq_kernels.ops.embedding.dequantized_rows import dequantize_rows

from ..not_finite import without_not_finite
from ..plan import PlannedTensor, Weights

CANDIDATES = (
    "IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "Q2_K", "IQ3_XXS", "Q3_K", "IQ3_S", "IQ4_XS", "IQ4_NL",
    "Q4_0", "Q4_K", "Q5_0", "Q5_K", "Q6_K", "Q8_0",
)  # fmt: skip
"""Types that tensors may get."""

SAMPLE_WEIGHTS = 1 << 16
"""Weights of a tensor that are measured, about: enough for errors to be known within 1 or 2%."""

MATRICES = 16
"""Of a tensor's matrices (experts) rows are taken of so many, spread evenly."""

READERS = 16
"""Threads, more than cores, because each row of a checkpoint on the Hub is an answer that is waited for."""

Errors = dict[str, float]
"""By type, the expected square of what rounding adds to a matrix's outputs, in shares of the outputs' own."""


def candidate_types(columns: int, has_importance: bool) -> list[str]:
    """Types whose blocks divide a row, and that can be written."""
    return [
        name
        for name in CANDIDATES
        if name in TARGET_TYPES
        and columns % KERNEL_TYPES[name].block == 0
        and (has_importance or name not in NEEDS_IMPORTANCE)
    ]


def candidates_of(tensor: PlannedTensor) -> list[str]:
    """The types that a tensor may get."""
    return candidate_types(tensor.columns, tensor.importance is not None)


def sampled_errors(
    tensors: Sequence[PlannedTensor],
    weights: Weights,
    threads: int | None = None,
    types_of: Callable[[PlannedTensor], Sequence[str]] = candidates_of,
    progress: Callable[[int, int], None] | None = None,
) -> Mapping[str, Errors]:
    """The errors of types of each tensor, by its name.

    Where a tensor's importance is known, an output's error is Σ x² · (w - rounded w)² with its means of x²;
    else all columns count alike. types_of: the types that are tried, by default all that a tensor may get.
    progress(tensors done, tensors in all) is called in this thread.
    """
    found = {}
    turn = BoundedSemaphore(threads or processor_count())
    with ThreadPoolExecutor(READERS) as pool:
        measured = pool.map(lambda each: _errors(each, weights, types_of(each), turn), tensors)
        for tensor, errors in zip(tensors, measured, strict=True):
            found[tensor.name] = errors
            if progress:
                progress(len(found), len(tensors))
    return found


def _errors(
    tensor: PlannedTensor, weights: Weights, types: Sequence[str], turn: AbstractContextManager[object]
) -> Errors:
    """The errors of one tensor. turn: held while it computes, by as many as there are to compute at once."""
    errors, outputs = dict.fromkeys(types, 0.0), 0.0
    sampled = list(_sampled_rows(tensor, weights))
    with turn:
        for matrix, rows in sampled:
            importance = None if tensor.importance is None else tensor.importance[matrix]
            by_column = np.ones(tensor.columns, np.float32) if importance is None else importance
            outputs += float(np.square(rows).sum(axis=0, dtype=np.float64) @ by_column)
            for name in types:
                rounded = dequantize_rows(_quantized(tensor, rows, name, importance), name)
                errors[name] += float(np.square(rounded - rows).sum(axis=0, dtype=np.float64) @ by_column)
    return {name: error / outputs if outputs else 0.0 for name, error in errors.items()}


def _quantized(
    tensor: PlannedTensor, rows: np.ndarray, type_name: str, importance: np.ndarray | None
) -> np.ndarray:
    try:
        return quantize_rows(rows, type_name, importance=importance)
    except UnfitWeightError as error:
        raise GlmqError(
            f"tensor {tensor.name} {error}: {type_name}; say which type it is to have", setting="tensor_type"
        ) from None


def _sampled_rows(tensor: PlannedTensor, weights: Weights) -> Iterator[tuple[int, np.ndarray]]:
    """For some of the matrices, their number and some rows, float32 (n, columns), spread evenly."""
    n_matrices = sum(piece.n_rows for piece in tensor.pieces) // tensor.matrix_rows
    matrices = spread(n_matrices, MATRICES)
    n_rows = max(1, SAMPLE_WEIGHTS // tensor.columns // len(matrices))
    for matrix in matrices:
        wanted = [matrix * tensor.matrix_rows + row for row in spread(tensor.matrix_rows, n_rows)]
        yield matrix, np.concatenate(list(_read_rows(tensor, weights, wanted)))


def spread(n: int, most: int) -> list[int]:
    """Up to `most` of the numbers below n, evenly spread."""
    return sorted(set(np.linspace(0, n - 1, min(n, most)).round().astype(int).tolist()))


def _read_rows(tensor: PlannedTensor, weights: Weights, wanted: Sequence[int]) -> Iterator[np.ndarray]:
    """Rows by their ascending numbers, float32 (n, columns); those that follow each other are read at once.

    What is not finite is 0, as in a file that is made in spite of it.
    """
    before = 0
    for piece in tensor.pieces:
        of_piece = [row - before for row in wanted if before <= row < before + piece.n_rows]
        before += piece.n_rows
        for first, n_rows in _runs(of_piece):
            buffer = np.empty(n_rows * tensor.columns * max(4, weights.item_bytes(piece.source)), np.uint8)
            read = weights.read(piece.source, piece.first_row + first, n_rows, buffer)
            if read.dtype == np.uint16:  # the bits of bfloat16
                read = (read.astype(np.uint32) << 16).view(np.float32)
            yield without_not_finite(read.astype(np.float32))


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Ascending numbers as the first and the length of each run without a gap."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and sum(runs[-1]) == number:
            runs[-1] = runs[-1][0], runs[-1][1] + 1
        else:
            runs.append((number, 1))
    return runs
