"""How far the values of tensors are from those of a source, by rows, on all cores."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from glmq_kernels.machine.cores import check_threads, processor_count

from ..plan import PlannedTensor, Weights

PORTION_BYTES = 1 << 20
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RowErrors:
    """Of some rows: squared differences and squared weights, float64 (n_rows,), and what is no number.

    n_not_finite: weights of the source that are NaN or infinite, which count as 0. n_spoilt: weights of the
    file that are.
    """

    first_row: int
    errors: np.ndarray
    squares: np.ndarray
    n_not_finite: int
    n_spoilt: int


@dataclass
class TensorError:
    """Of a tensor: what its rows' squares add up to, and the row that is furthest off.

    worst: relative error of row `worst_row`, where that is more than `absolute` for each weight.
    """

    columns: int
    absolute: float
    errors: float = 0.0
    squares: float = 0.0
    worst: float = 0.0
    worst_row: int = 0
    n_rows: int = 0
    n_not_finite: int = 0
    n_spoilt: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    @property
    def relative(self) -> float:
        """The norm of the differences by the norm of the weights; 0 where they are all within `absolute`."""
        if self.errors <= self.n_rows * self.columns * self.absolute**2:
            return 0.0
        return float(np.sqrt(self.errors / self.squares)) if self.squares else np.inf

    def add(self, rows: RowErrors) -> None:
        """Count some rows."""
        allowed = self.columns * self.absolute**2
        with np.errstate(divide="ignore", invalid="ignore"):
            relative = np.where(rows.errors <= allowed, 0.0, np.sqrt(rows.errors / rows.squares))
        at = int(np.argmax(relative))
        with self._lock:
            self.errors += float(rows.errors.sum())
            self.squares += float(rows.squares.sum())
            self.n_rows += len(rows.errors)
            self.n_not_finite += rows.n_not_finite
            self.n_spoilt += rows.n_spoilt
            if relative[at] > self.worst:
                self.worst, self.worst_row = float(relative[at]), rows.first_row + at


@dataclass(frozen=True)
class _Portion:
    tensor: PlannedTensor
    source: str
    source_row: int
    row: int
    n_rows: int


def tensor_errors(
    tensors: Sequence[PlannedTensor],
    expected: Weights,
    found: Weights,
    absolute: Callable[[PlannedTensor], float],
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, TensorError]:
    """The error of each tensor, by name.

    tensors: as planned from `expected`, from which their pieces are read as floats; `found` has them whole,
    under their own names. absolute: of a tensor, how far off any weight may be. threads: cores to keep busy,
    by default all. progress(weights done, weights in all).
    """
    check_threads(threads)
    errors = {tensor.name: TensorError(tensor.columns, absolute(tensor)) for tensor in tensors}
    total = sum(sum(piece.n_rows for piece in tensor.pieces) * tensor.columns for tensor in tensors)
    done = 0

    def compare(portion: _Portion) -> None:
        nonlocal done
        errors[portion.tensor.name].add(_compared(portion, expected, found))
        done += portion.n_rows * portion.tensor.columns

    tell = progress or (lambda n, of: None)
    _on_all_cores(compare, _portions(tensors), threads, lambda: tell(min(done, total), total))
    return errors


def _portions(tensors: Sequence[PlannedTensor]) -> Iterator[_Portion]:
    for tensor in tensors:
        step, row = max(1, PORTION_BYTES // (4 * tensor.columns)), 0
        for piece in tensor.pieces:
            for first in range(0, piece.n_rows, step):
                n_rows = min(step, piece.n_rows - first)
                yield _Portion(tensor, piece.source, piece.first_row + first, row, n_rows)
                row += n_rows


def _compared(portion: _Portion, expected: Weights, found: Weights) -> RowErrors:
    weights = _floats(expected, portion.source, portion.source_row, portion.n_rows, portion.tensor.columns)
    values = _floats(found, portion.tensor.name, portion.row, portion.n_rows, portion.tensor.columns)
    finite, spoilt = np.isfinite(weights), ~np.isfinite(values)
    n_not_finite, n_spoilt = int((~finite).sum()), int(spoilt.sum())
    if n_not_finite:
        weights = np.where(finite, weights, np.float32(0))
    difference = values - weights if not n_spoilt else np.where(spoilt, 0, values - weights)
    return RowErrors(portion.row, _squares(difference), _squares(weights), n_not_finite, n_spoilt)


def _squares(rows: np.ndarray) -> np.ndarray:
    """Sums of the squares of rows, which may be beyond float32."""
    with np.errstate(over="ignore"):
        sums: np.ndarray = np.einsum("ij,ij->i", rows, rows).astype(np.float64)
    large = ~np.isfinite(sums)
    if large.any():
        sums[large] = (rows[large].astype(np.float64) ** 2).sum(1)
    return sums


def _floats(weights: Weights, name: str, first_row: int, n_rows: int, columns: int) -> np.ndarray:
    """Rows as float32, whatever they are read as."""
    buffer = np.empty(n_rows * columns * weights.item_bytes(name), np.uint8)
    rows = weights.read(name, first_row, n_rows, buffer)
    if rows.dtype == np.uint16:
        return (rows.astype(np.uint32) << 16).view(np.float32)
    return rows.astype(np.float32, copy=False)


def _on_all_cores(
    work: Callable[[_Portion], None],
    portions: Iterator[_Portion],
    threads: int | None,
    tell: Callable[[], None],
) -> None:
    """Do the work for each portion, in threads that take them as they get free. Raises the first error."""
    lock, failed = threading.Lock(), []
    stop = threading.Event()

    def serve() -> None:
        try:
            while not stop.is_set():
                with lock:
                    portion = next(portions, None)
                if portion is None:
                    return
                work(portion)
        except BaseException as error:
            failed.append(error)
            stop.set()

    workers = [threading.Thread(target=serve, name="compare") for _ in range(threads or processor_count())]
    for worker in workers:
        worker.start()
    try:
        for worker in workers:
            while worker.is_alive():
                worker.join(0.1)
                tell()
    finally:
        stop.set()
        for worker in workers:
            worker.join()
    if failed:
        raise failed[0]
