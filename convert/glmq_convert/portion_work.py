"""Reading, quantizing and writing portions on all cores at once.

Every portion has its place in a file from the start, so threads need not wait for each other and the memory
used is one portion a thread, whatever the size of the model.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from io import FileIO
from pathlib import Path

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import write_all
from glmq_kernels.formats.quantize import UnfitWeightError, quantize_rows
from glmq_kernels.machine.cores import processor_count

from . import portions
from .not_finite import count_not_finite, not_finite, without_not_finite
from .plan import PlannedTensor, Weights
from .portions import Portion

WORKERS_PER_THREAD = 2
"""So that a core has something to do while the disk serves its other worker."""

REPORT_SECONDS = 0.1
RECORD_SECONDS = 2.0
"""Between two notes of how far the work is, before each of which what was written goes to the disk."""


class PortionWork:
    """One run over portions: what is left to take, how far it is, and what went wrong.

    files: to write into. left: the portions to do, in order; of them all, `n_done` are done already.
    tensors: of the portions, for the sizes of buffers. allow_nan: write 0 for weights that are not finite.
    not_finite: how many of these there were, by tensor of the source.
    """

    def __init__(
        self,
        files: Sequence[Path],
        left: Iterator[Portion],
        n_done: int,
        tensors: Sequence[PlannedTensor],
        weights: Weights,
        allow_nan: bool,
    ) -> None:
        self.not_finite: Counter[str] = Counter()
        self.bytes_done = 0
        self._files, self._left, self._weights, self._allow_nan = files, left, weights, allow_nan
        self._next = n_done
        self._in_work: set[int] = set()
        self._lock = threading.Lock()
        self._ended = threading.Condition()
        self._running = 0
        self._stop = False
        self._error: BaseException | None = None
        longest_row = max((t.columns for t in tensors), default=0) * 4
        self._source_bytes = max(portions.PORTION_BYTES, longest_row)
        self._target_bytes = max(2 * portions.PORTION_BYTES, longest_row)

    @property
    def n_done(self) -> int:
        """How many portions, from the first on, are written."""
        with self._lock:
            return min(self._in_work, default=self._next)

    def run(
        self, threads: int | None, progress: Callable[[int], None], record: Callable[[int], None]
    ) -> None:
        """Write every portion; raises the first error that a worker met.

        progress(bytes written) and record(portions done) are called on this thread, now and then.
        """
        self._running = WORKERS_PER_THREAD * (threads or processor_count())
        workers = [threading.Thread(target=self._worker, name="convert") for _ in range(self._running)]
        for worker in workers:
            worker.start()
        noted = time.monotonic()
        try:
            while not self._wait():
                progress(self.bytes_done)
                if time.monotonic() - noted > RECORD_SECONDS:
                    record(self.n_done)
                    noted = time.monotonic()
        finally:
            self._stop = True
            for worker in workers:
                worker.join()
            with suppress(OSError):
                record(self.n_done)
        if self._error:
            raise self._error

    def _wait(self) -> bool:
        with self._ended:
            if self._running:
                self._ended.wait(REPORT_SECONDS)
            return not self._running

    def _take(self) -> tuple[int, Portion] | None:
        with self._lock:
            portion = next(self._left, None)
            if portion is None:
                return None
            number = self._next
            self._next += 1
            self._in_work.add(number)
            return number, portion

    def _worker(self) -> None:
        try:
            source = np.empty(self._source_bytes, np.uint8)
            target = np.empty(self._target_bytes, np.uint8)
            with ExitStack() as stack:
                opened = -1
                while not self._stop and (taken := self._take()):
                    number, portion = taken
                    if portion.file != opened:
                        stack.close()
                        file = stack.enter_context(FileIO(self._files[portion.file], "r+"))
                        opened = portion.file
                    self._write(portion, source, target, file)
                    with self._lock:
                        self._in_work.remove(number)
                        self.bytes_done += portion.n_bytes
        except BaseException as error:
            with self._lock:
                self._error = self._error or error
            self._stop = True
        finally:
            with self._ended:
                self._running -= 1
                self._ended.notify()

    def _write(self, portion: Portion, source: np.ndarray, target: np.ndarray, file: FileIO) -> None:
        try:
            rows = self._weights.read(portion.source, portion.first_row, portion.n_rows, source)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise GlmqError(
                f"tensor {portion.source} cannot be read: {where}{error.strerror or error}"
            ) from None
        converted = target[: portion.n_bytes]
        if rows.dtype == np.uint8:
            converted[:] = rows.reshape(-1)
        else:
            self._quantize(rows, portion, converted)
        file.seek(portion.offset)
        write_all(file, converted.data)

    def _quantize(self, rows: np.ndarray, portion: Portion, out: np.ndarray) -> None:
        tensor = portion.tensor
        importance = None if tensor.importance is None else tensor.importance[portion.matrix]
        try:
            quantize_rows(rows, tensor.type, out, importance)
        except UnfitWeightError as error:
            count = int(np.count_nonzero(not_finite(rows)))
            if not count:
                raise GlmqError(f"tensor {portion.source} {error}; choose another type for it") from None
            if not self._allow_nan:
                raise self._refusal(portion) from None
            quantize_rows(without_not_finite(rows), tensor.type, out, importance)
            with self._lock:
                self.not_finite[portion.source] += count

    def _refusal(self, portion: Portion) -> GlmqError:
        n = count_not_finite(portion.tensor, self._weights, portion.source)
        return GlmqError(
            f"tensor {portion.source} holds {n} {'value that is' if n == 1 else 'values that are'} not a"
            " finite number (NaN or infinite); get the source again, or have 0 written for such values",
            setting="allow_nan",
        )
