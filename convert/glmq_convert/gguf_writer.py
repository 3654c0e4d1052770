"""Writing a model as one GGUF file or several, whole or not at all.

Files have other names until all of them are complete (`glmq_kernels.files.file_writing`), and a record
tells how far they are (`resumption.py`), so that what a killed run has left can be gone on with.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import islice
from pathlib import Path

import gguf
import numpy as np
from gguf.gguf_writer import WriterState
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import (
    Target,
    cannot_be_written,
    check_target,
    is_being_written,
    replacing_open,
    write_all,
)
from glmq_kernels.machine.cores import check_threads

from .plan import PlannedTensor, Weights
from .portion_work import PortionWork
from .portions import PORTION_BYTES, Portion, padded, portions
from .resumption import LeftOver, Record
from .shards import WHOLE, Shard
from .splits import SplitSizes, part_headers, part_path, split_tensors

Progress = Callable[[int, int], None]
"""Is told the bytes written and the bytes in all."""


@dataclass(frozen=True)
class WriteSettings:
    """How a model is written.

    split: into several files, named and made as by llama.cpp's gguf-split. threads: cores to keep busy, by
    default all. progress(bytes written, bytes in all) is called on the calling thread, a few times a second.
    allow_nan: write 0 for weights that are not finite. resume: go on with what an earlier run has left, and
    leave what this one does not finish. source_identity: what tells the source from others, for `resume`.
    shards: parts of the source that are converted one after the other.
    """

    split: SplitSizes | None = None
    threads: int | None = None
    progress: Progress | None = None
    allow_nan: bool = False
    resume: bool = False
    source_identity: str = ""
    shards: Sequence[Shard] = WHOLE

    def __post_init__(self) -> None:
        check_threads(self.threads)


@dataclass(frozen=True)
class Written:
    """The files of a model. not_finite: (tensor of the source, number of weights that were set to 0)."""

    paths: list[Path]
    not_finite: list[tuple[str, int]]


@dataclass(frozen=True)
class _File:
    """A file to be written: everything before the tensors' bytes, and the tensors."""

    path: Path
    head: bytes
    tensors: Sequence[PlannedTensor]

    @property
    def data_start(self) -> int:
        return padded(len(self.head))

    @property
    def n_bytes(self) -> int:
        return self.data_start + sum(padded(tensor.n_bytes) for tensor in self.tensors)


def write_gguf(
    target: Target,
    header: gguf.GGUFWriter,
    tensors: Sequence[PlannedTensor],
    weights: Weights,
    settings: WriteSettings | None = None,
) -> Written:
    """Write a model: the metadata in `header`, then the planned tensors, read from `weights`.

    target: the file; its name is also that from which several have theirs. Whatever fails, Ctrl-C included,
    leaves any earlier file as it was, and nothing behind but by `resume`.
    Raises GlmqError for a weight that the type cannot hold, naming the tensor, and for a full disk.
    """
    settings = settings or WriteSettings()
    files = _files(target.path, header, tensors, settings.split)
    record = Record(target.path, _fingerprint(files, settings), settings.resume)
    try:
        with record:
            left = record.left_over([file.path for file in files]) if settings.resume else None
            if left is None:
                record.forget()
            targets = [target] if not settings.split else _targets(files, left, target.force)
            _check_room(target.path, files, left)
            with ExitStack() as stack:
                unfinished = [
                    left.files[i]
                    if left and left.has_name[i]
                    else _open(stack, file, each, left.files[i] if left else None, settings.resume)
                    for i, (file, each) in enumerate(zip(files, targets, strict=True))
                ]
                not_finite = _write(files, unfinished, weights, record, left.n_done if left else 0, settings)
    except OSError as error:
        raise cannot_be_written(target.path, error) from None
    return Written([file.path for file in files], not_finite)


def _files(
    path: Path, header: gguf.GGUFWriter, tensors: Sequence[PlannedTensor], split: SplitSizes | None
) -> list[_File]:
    if split is None:
        return [_File(path, _head(header, tensors), tensors)]
    parts = split_tensors(tensors, split)
    headers = part_headers(header, len(parts), len(tensors))
    return [
        _File(part_path(path, i, len(parts)), _head(each, part), part)
        for i, (each, part) in enumerate(zip(headers, parts, strict=True))
    ]


def _head(header: gguf.GGUFWriter, tensors: Sequence[PlannedTensor]) -> bytes:
    """Everything before the tensors' bytes, without padding."""
    for tensor in tensors:
        header.add_tensor_info(
            tensor.name,
            tensor.shape,
            np.dtype(np.float32),
            tensor.n_bytes,
            raw_dtype=gguf.GGMLQuantizationType[tensor.type],
        )
    memory = BytesIO()
    header.fout, header.state = [memory], WriterState.EMPTY  # what the writer has when it opened a file
    header.write_header_to_file()
    header.write_kv_data_to_file()
    header.write_ti_data_to_file()
    return memory.getvalue()


def _fingerprint(files: Sequence[_File], settings: WriteSettings) -> str:
    """Of all that the files' bytes, and their order, follow from."""
    told = f"{settings.allow_nan} {PORTION_BYTES} {len(settings.shards)}"
    digest = hashlib.sha256(f"{settings.source_identity}\n{told}\n".encode())
    for file in files:
        digest.update(hashlib.sha256(file.head).digest())
    return digest.hexdigest()


def _targets(files: Sequence[_File], left: LeftOver | None, force: bool) -> list[Target]:
    """Where several files go. Raises GlmqError when they cannot go there."""
    targets = []
    for i, file in enumerate(files):
        target = check_target(file.path, force=force or bool(left and left.has_name[i]))
        if is_being_written(target):
            raise GlmqError(f"{file.path} is being written by another process; wait for it")
        targets.append(target)
    return targets


def _check_room(path: Path, files: Sequence[_File], left: LeftOver | None) -> None:
    """Raise GlmqError where the disk has no room for what is still to be written."""
    folder = path.parent
    free = shutil.disk_usage(folder).free
    n_bytes = 0
    for i, file in enumerate(files):
        if left and left.has_name[i]:
            continue
        n_bytes += file.n_bytes
        if left:
            free += getattr(left.files[i].stat(), "st_blocks", 0) * 512
    if free < n_bytes:
        raise GlmqError(
            f"{path} needs {n_bytes / 1e6:,.0f} MB and {folder} has {free / 1e6:,.0f} MB free; choose another"
            " place or a smaller type"
        )


def _open(stack: ExitStack, file: _File, target: Target, left_over: Path | None, keep: bool) -> Path:
    """The unfinished file, with its head and of its full length; it is renamed when the stack ends well."""
    unfinished, opened = stack.enter_context(replacing_open(target, left_over=left_over, keep=keep))
    write_all(opened, file.head)
    opened.truncate(file.n_bytes)
    return unfinished


def _write(
    files: Sequence[_File],
    unfinished: Sequence[Path],
    weights: Weights,
    record: Record,
    n_done: int,
    settings: WriteSettings,
) -> list[tuple[str, int]]:
    """Write all portions but the first `n_done`; gives tensors with weights that were not finite."""
    record.begin(unfinished, n_done)
    tensors = [tensor for file in files for tensor in file.tensors]
    total = sum(tensor.n_bytes for tensor in tensors)
    show = settings.progress or (lambda n_bytes, n_all: None)
    not_finite: Counter[str] = Counter()
    steps = list(_steps(files, weights, settings.shards, n_done))
    written = sum(step.n_bytes_done for step in steps)
    for i, step in enumerate(steps):
        if step.n_bytes_left:
            step.shard.fetch()
            if following := next((each for each in steps[i + 1 :] if each.n_bytes_left), None):
                following.shard.fetch_ahead(total - written)
            left = islice(_portions(files, weights, step.shard), step.n_done, None)
            work = PortionWork(
                unfinished, left, step.first + step.n_done, tensors, weights, settings.allow_nan
            )
            work.run(settings.threads, partial(_show_with, show, written, total), record.note)
            written += work.bytes_done
            not_finite += work.not_finite
        step.shard.release()
    show(total, total)
    return list(not_finite.items())


@dataclass(frozen=True)
class _Step:
    """A shard's portions: the number of its first, how many are written already, and bytes of both kinds."""

    shard: Shard
    first: int
    n_done: int
    n_bytes_done: int
    n_bytes_left: int


def _steps(files: Sequence[_File], weights: Weights, shards: Sequence[Shard], n_done: int) -> Iterator[_Step]:
    first = 0
    for shard in shards:
        sizes = [portion.n_bytes for portion in _portions(files, weights, shard)]
        n = min(max(0, n_done - first), len(sizes))
        yield _Step(shard, first, n, sum(sizes[:n]), sum(sizes[n:]))
        first += len(sizes)


def _show_with(show: Progress, before: int, total: int, n_bytes: int) -> None:
    show(before + n_bytes, total)


def _portions(files: Sequence[_File], weights: Weights, shard: Shard) -> Iterator[Portion]:
    for i, file in enumerate(files):
        yield from portions(i, file.tensors, weights, file.data_start, shard.holds)
