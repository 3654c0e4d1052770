"""How fast experts come from the disk that a file is on."""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

import numpy as np
from glmq_kernels.arrays import address_of
from glmq_kernels.disk_reads.disk_reader import DiskReader, Part, Request, aligned_memory, room_for
from glmq_kernels.errors import GlmqError

from ..experts.disk import Disk
from ..experts.fetching import failure
from ..experts.offloaded_experts import STACKED
from ..gguf import GGUFFile
from .figures import DiskSpeed

IN_FLIGHT = 24
"""Parts asked for at once: eight experts of three matrices each, as of one token in a layer."""

TRIES, SECONDS, MOST_BYTES = 5, 0.2, 500_000_000
"""Of each, of which the usual one counts."""

PART_BYTES = 3 << 20
"""Of a file without experts."""

TRIAL_BYTES = 256 << 20
"""Of the file that is written where there is none yet."""

ROOM_LEFT = 4
"""Times as much must be free on the disk."""


def disk_speed(file: GGUFFile) -> DiskSpeed:
    """Read parts of a file as experts are read. Raises GlmqError when that is not possible."""
    disk = Disk(file.paths)
    try:
        return DiskSpeed(_usual_read_speed(disk.reader, _parts_at_random(file, disk)))
    finally:
        disk.close()


def folder_speed(folder: Path) -> DiskSpeed:
    """Write a file into a folder for a moment, and read it. Raises GlmqError when that is not possible."""
    try:
        if shutil.disk_usage(folder).free < ROOM_LEFT * TRIAL_BYTES:
            raise GlmqError(f"{folder} has no room for measuring its disk")
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".glmq-") as trial:
            block = os.urandom(1 << 20)
            for _ in range(TRIAL_BYTES >> 20):
                trial.write(block)
            trial.flush()
            os.fsync(trial.fileno())
            disk = Disk([Path(trial.name)])
            try:
                starts = range(0, TRIAL_BYTES - PART_BYTES, PART_BYTES)
                parts = [Part(disk.files[0], start, PART_BYTES) for start in starts]
                return DiskSpeed(_usual_read_speed(disk.reader, iter(parts)))
            finally:
                disk.close()
    except OSError as error:
        raise GlmqError(f"the disk of {folder} cannot be measured: {error.strerror}") from None


def _parts_at_random(file: GGUFFile, disk: Disk) -> Iterator[Part]:
    """Experts' matrices in no order, each once; stretches of a file that has none."""
    parts = [
        part
        for name, info in file.tensors.items()
        if STACKED.fullmatch(name)
        for part in disk.parts(info, info.shape[0])
    ]
    if not parts:
        for direct, size in zip(disk.files, file.sizes, strict=True):
            n_bytes = min(PART_BYTES, size)
            parts += [Part(direct, start, n_bytes) for start in range(0, size - n_bytes + 1, n_bytes)]
    order = np.random.default_rng(time.time_ns()).permutation(len(parts))
    return (parts[i] for i in order)


def _usual_read_speed(reader: DiskReader, parts: Iterator[Part]) -> float:
    """Bytes per second with `IN_FLIGHT` parts asked for at any time."""
    first = next(parts)
    room = room_for(2 * first.n_bytes)
    memory = aligned_memory(IN_FLIGHT * room)
    memory[:] = 1  # the system gives memory when it is first written to
    reader.keep(memory)
    places = [address_of(memory) + i * room for i in range(IN_FLIGHT)]
    fitting = chain([first], (part for part in parts if room_for(part.n_bytes) <= room))
    speeds = []
    for part in islice(fitting, TRIES):
        speeds.append(_read_speed(reader, chain([part], fitting), places))
    return statistics.median(speeds)


def _read_speed(reader: DiskReader, parts: Iterator[Part], places: Sequence[int]) -> float:
    """The same for parts that fit into rooms at some addresses."""
    free = deque(places)
    asked: deque[tuple[Request, int]] = deque()
    n_bytes, began = 0, time.perf_counter()
    while True:
        goes_on = time.perf_counter() - began < SECONDS and n_bytes < MOST_BYTES
        part = next(parts, None) if free and goes_on else None
        if part is not None:
            place = free.popleft()
            asked.append((reader.post([(part, place)])[0], place))
        elif asked:
            request, place = asked.popleft()
            n_bytes += _await(reader, request)
            free.append(place)
        else:
            return n_bytes / (time.perf_counter() - began)


def _await(reader: DiskReader, request: Request) -> int:
    """Wait for a part; gives its bytes."""
    reader.await_result(request)
    result = reader.result(request)
    reader.release(request)
    if result != request.part.n_bytes:
        raise failure(request, result)
    return result
