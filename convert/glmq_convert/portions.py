"""The portions in which a model is written: some rows each, with a place in a file from the start."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import gguf

from .plan import PlannedTensor, Weights

PORTION_BYTES = 1 << 20
"""Of the source, about: enough for a disk to read at speed, few enough to stay in a core's cache."""

ALIGNMENT = int(gguf.GGUF_DEFAULT_ALIGNMENT)


@dataclass(frozen=True)
class Portion:
    """Some rows of a source tensor, and where their bytes go.

    file: the number of the file. matrix: the one of the tensor's matrices (experts) that all rows belong to.
    """

    file: int
    tensor: PlannedTensor
    matrix: int
    source: str
    first_row: int
    n_rows: int
    offset: int

    @property
    def n_bytes(self) -> int:
        """Bytes in the file."""
        return self.n_rows * self.tensor.row_bytes


def padded(n_bytes: int) -> int:
    """Bytes up to where the next tensor may begin."""
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


def portions(
    file: int,
    tensors: Sequence[PlannedTensor],
    weights: Weights,
    data_start: int,
    holds: Callable[[str], bool] = lambda source: True,
) -> Iterator[Portion]:
    """Every portion of a file, in the order of the file. holds(source): whether those of it are wanted."""
    for tensor in tensors:
        offset, row = data_start, 0
        for piece in tensor.pieces:
            if not holds(piece.source):
                offset += piece.n_rows * tensor.row_bytes
                row += piece.n_rows
                continue
            row_source_bytes = tensor.columns * weights.item_bytes(piece.source)
            step = max(1, PORTION_BYTES // row_source_bytes)
            done = 0
            while done < piece.n_rows:
                matrix, first = divmod(row, tensor.matrix_rows)
                n_rows = min(step, piece.n_rows - done, tensor.matrix_rows - first)
                yield Portion(file, tensor, matrix, piece.source, piece.first_row + done, n_rows, offset)
                offset += n_rows * tensor.row_bytes
                row, done = row + n_rows, done + n_rows
        data_start += padded(tensor.n_bytes)
