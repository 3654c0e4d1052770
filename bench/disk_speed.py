"""How fast experts can be read directly, and whether it would help if their matrices lay side by side."""

from __future__ import annotations

import re
import statistics
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from glmq_kernels.arrays import address_of
from glmq_kernels.disk_reads.disk_reader import (
    DirectFile,
    DiskReader,
    Part,
    Request,
    aligned_memory,
    room_for,
)

from glmq.gguf import open_gguf

DEEP, SHALLOW = 8, 1
"""Experts asked for at once."""


def direct_read_speeds(path: Path, n_experts: int = 150) -> tuple[float, float]:
    """Bytes per second of direct reads of experts at random, many in flight, and of the same ones again.

    The second figure tells of a virtual machine's disk that is in its host's memory.
    """
    with _Place(path) as place:
        experts = place.apart(n_experts)
        return place.speed(experts, DEEP), place.speed(experts, DEEP)


def layout_speeds(path: Path, n_experts: int = 120, n_rounds: int = 7) -> dict[tuple[str, int], float]:
    """Bytes per second by layout (apart, side by side) and experts in flight: medians of rounds in turn."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    with _Place(path) as place:
        layouts = {"apart": place.apart, "side by side": place.side_by_side}
        for i in range(n_rounds):
            for depth in (SHALLOW, DEEP):
                for layout in list(layouts)[:: 1 if i % 2 else -1]:
                    found[layout, depth].append(place.speed(layouts[layout](n_experts), depth))
    return {key: statistics.median(speeds) for key, speeds in found.items()}


class _Place:
    """A file's experts, and memory and threads to read them."""

    def __init__(self, path: Path) -> None:
        with open_gguf(path) as file:
            self._tensors = [
                tensor for name, tensor in file.tensors.items() if re.search(r"ffn_(gate|up|down)_exps", name)
            ]
        self._size = self._tensors[0].n_bytes // self._tensors[0].shape[0]
        self._rng = np.random.default_rng(time.time_ns())
        self._file, self._reader = DirectFile(path), DiskReader()
        self._memory = aligned_memory(DEEP * 3 * room_for(self._size))
        self._memory[:] = 1  # the system gives memory when it is first written to

    def __enter__(self) -> _Place:
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.close()
        self._file.close()

    def apart(self, n: int) -> list[list[Part]]:
        """Experts as they lie in a GGUF file: a matrix in each of three tensors."""
        return [
            [Part(self._file, self._random_matrix(tensor), self._size) for tensor in self._three_tensors()]
            for _ in range(n)
        ]

    def side_by_side(self, n: int) -> list[list[Part]]:
        """Stretches of the file as long as an expert, at random."""
        longest = [tensor for tensor in self._tensors if tensor.shape[0] >= 3]
        starts = [longest[self._rng.integers(len(longest))] for _ in range(n)]
        return [
            [Part(self._file, tensor.offset + self._random(tensor.shape[0] - 2) * self._size, 3 * self._size)]
            for tensor in starts
        ]

    def _three_tensors(self) -> list:
        first = 3 * self._random(len(self._tensors) // 3)
        return self._tensors[first : first + 3]

    def _random_matrix(self, tensor) -> int:
        return int(tensor.offset + self._random(tensor.shape[0]) * self._size)

    def _random(self, end: int) -> int:
        return int(self._rng.integers(end))

    def speed(self, experts: Sequence[list[Part]], depth: int) -> float:
        """Bytes per second with `depth` experts asked for at any time."""
        began = time.perf_counter()
        asked: list[list[Request]] = []
        for i, parts in enumerate(experts):
            if i >= depth:
                self._await(asked[i - depth])
            room = address_of(self._memory) + i % depth * 3 * room_for(self._size)
            rooms = [room + j * room_for(self._size) for j in range(len(parts))]
            asked.append(self._reader.post(list(zip(parts, rooms, strict=True))))
        for requests in asked[-depth:]:
            self._await(requests)
        return sum(part.n_bytes for parts in experts for part in parts) / (time.perf_counter() - began)

    def _await(self, requests: list[Request]) -> None:
        for request in requests:
            self._reader.await_result(request)
            assert self._reader.result(request) == request.part.n_bytes
            self._reader.release(request)
