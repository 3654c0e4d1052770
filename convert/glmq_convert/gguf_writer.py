"""Writing a GGUF file: read, quantize and write in small portions, on all cores at once.

Every portion has its place in the file from the start, so threads need not wait for each other and the
memory used is one portion a thread, whatever the size of the model. The file has another name until it
is complete (`glmq_kernels.files.file_writing`).
"""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import gguf
import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import Target, cannot_be_written, replacing
from glmq_kernels.formats.quantize import UnfitWeightError, quantize_rows
from glmq_kernels.machine.cores import processor_count

from .plan import PlannedTensor, Weights

PORTION_BYTES = 1 << 20
"""Of the source, about: enough for a disk to read at speed, few enough to stay in a core's cache."""

WORKERS_PER_THREAD = 2
"""So that a core has something to do while the disk serves its other worker."""

ALIGNMENT = int(gguf.GGUF_DEFAULT_ALIGNMENT)
REPORT_SECONDS = 0.1
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Portion:
    """Some rows of a source tensor, and where their bytes go in the file.

    matrix: the one of the tensor's matrices (experts) that all of them belong to.
    """

    tensor: PlannedTensor
    matrix: int
    source: str
    first_row: int
    n_rows: int
    offset: int


def write_gguf(
    target: Target,
    header: gguf.GGUFWriter,
    tensors: Sequence[PlannedTensor],
    weights: Weights,
    *,
    threads: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Write the file: the metadata in `header`, then the planned tensors, read from `weights`.

    threads: cores to keep busy, by default all. progress(bytes written, bytes in all) is called on the
    calling thread, a few times a second.
    Whatever fails, Ctrl-C included, leaves nothing behind and any earlier file as it was.
    Raises GlmqError for a weight that the type cannot hold, naming the tensor, and for a full disk.
    """
    total = sum(_padded(tensor.n_bytes) for tensor in tensors)
    with _unfinished_file(target, total) as unfinished:
        data_start = _write_header(unfinished, header, tensors)
        with unfinished.open("r+b") as file:
            file.truncate(data_start + total)
        _Work(unfinished, tensors, weights, data_start).run(threads, total, progress)


@contextmanager
def _unfinished_file(target: Target, n_bytes: int) -> Iterator[Path]:
    """A file beside the target that takes its place when the block ends well, where there is room for it."""
    try:
        folder = target.file.parent
        free = shutil.disk_usage(folder).free
        if free < n_bytes:
            raise GlmqError(
                f"{target.path} needs {n_bytes / 1e9:.1f} GB and {folder} has"
                f" {free / 1e9:.1f} GB free; choose another place or a smaller type"
            )
        with replacing(target) as unfinished:
            yield unfinished
    except OSError as error:
        raise cannot_be_written(target.path, error) from None


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // ALIGNMENT) * ALIGNMENT


def _write_header(path: Path, header: gguf.GGUFWriter, tensors: Sequence[PlannedTensor]) -> int:
    """Write everything before the tensors' bytes; gives the position where those begin."""
    for tensor in tensors:
        header.add_tensor_info(
            tensor.name,
            tensor.shape,
            np.dtype(np.float32),
            tensor.n_bytes,
            raw_dtype=gguf.GGMLQuantizationType[tensor.type],
        )
    header.write_header_to_file(path)
    header.write_kv_data_to_file()
    header.write_ti_data_to_file()
    header.close()
    return _padded(path.stat().st_size)


def portions(tensors: Sequence[PlannedTensor], weights: Weights, data_start: int) -> Iterator[Portion]:
    """Every portion of a file, in the order of the file."""
    for tensor in tensors:
        offset, row = data_start, 0
        for piece in tensor.pieces:
            row_source_bytes = tensor.columns * weights.item_bytes(piece.source)
            step = max(1, PORTION_BYTES // row_source_bytes)
            done = 0
            while done < piece.n_rows:
                left_of_matrix = tensor.matrix_rows - row % tensor.matrix_rows
                n_rows = min(step, piece.n_rows - done, left_of_matrix)
                matrix = row // tensor.matrix_rows
                yield Portion(tensor, matrix, piece.source, piece.first_row + done, n_rows, offset)
                offset += n_rows * tensor.row_bytes
                row, done = row + n_rows, done + n_rows
        data_start += _padded(tensor.n_bytes)


class _Work:
    """One run over all portions: what is left to take, how far it is, and what went wrong."""

    def __init__(
        self, path: Path, tensors: Sequence[PlannedTensor], weights: Weights, data_start: int
    ) -> None:
        self._path, self._weights = path, weights
        self._left = portions(tensors, weights, data_start)
        self._lock = threading.Lock()
        self._ended = threading.Condition()
        self._running = 0
        self._bytes_done = 0
        self._stop = False
        self._error: BaseException | None = None
        longest_row = max((t.columns for t in tensors), default=0) * 4
        self._source_bytes = max(PORTION_BYTES, longest_row)
        self._target_bytes = max(2 * PORTION_BYTES, longest_row)

    def run(self, threads: int | None, total: int, progress: Progress | None) -> None:
        """Write every portion; raises the first error that a worker met."""
        self._running = WORKERS_PER_THREAD * (threads or processor_count())
        workers = [threading.Thread(target=self._worker, name="convert") for _ in range(self._running)]
        for worker in workers:
            worker.start()
        try:
            while not self._wait():
                if progress:
                    progress(min(self._bytes_done, total), total)
        finally:
            self._stop = True
            for worker in workers:
                worker.join()
        if self._error:
            raise self._error
        if progress:
            progress(total, total)

    def _wait(self) -> bool:
        with self._ended:
            if self._running:
                self._ended.wait(REPORT_SECONDS)
            return not self._running

    def _worker(self) -> None:
        try:
            source = np.empty(self._source_bytes, np.uint8)
            target = np.empty(self._target_bytes, np.uint8)
            with FileIO(self._path, "r+") as file:
                while not self._stop:
                    with self._lock:
                        portion = next(self._left, None)
                    if portion is None:
                        break
                    self._write(portion, source, target, file)
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
            self._stop = True
        finally:
            with self._ended:
                self._running -= 1
                self._ended.notify()

    def _write(self, portion: Portion, source: np.ndarray, target: np.ndarray, file: FileIO) -> None:
        rows = self._weights.read(portion.source, portion.first_row, portion.n_rows, source)
        converted = target[: portion.n_rows * portion.tensor.row_bytes]
        try:
            if rows.dtype == np.uint8:
                converted[:] = rows.reshape(-1)
            else:
                quantize_rows(rows, portion.tensor.type, converted)
        except UnfitWeightError as error:
            raise GlmqError(f"tensor {portion.source} {error}") from None
        file.seek(portion.offset)
        left = converted.data
        while left:
            left = left[file.write(left) :]
        with self._lock:
            self._bytes_done += converted.nbytes
