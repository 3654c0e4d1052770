"""Models whose experts come from disk, with a chosen number of them in memory, and a disk that fails."""

from __future__ import annotations

import ctypes
import errno
import os
import random
import time
from collections import Counter

from glmq_kernels.disk_reads.disk_reader import room_for
from glmq_kernels.disk_reads.reader_state import (
    REQUEST_ADDRESS,
    REQUEST_BYTES,
    REQUEST_FILE,
    REQUEST_OFFSET,
    REQUEST_RESULT,
)

import glmq
from glmq.experts import placement
from glmq.experts.offloaded_experts import STACKED
from glmq.gguf import open_gguf
from glmq.loading import needs_of
from glmq.memory_plan import MemoryPlan


def expert_sizes(path):
    """Number of experts, and bytes of a slot."""
    with open_gguf(path) as file:
        rooms: Counter[str] = Counter()
        n_experts = 0
        for name, tensor in file.tensors.items():
            if found := STACKED.fullmatch(name):
                n_parts = 2 if found[1] == "gate_up" else 1
                rooms[name.split(".")[1]] += n_parts * room_for(tensor.n_bytes // tensor.shape[0] // n_parts)
                n_experts += tensor.shape[0] * (found[1] == "down")
        return n_experts, max(rooms.values())


def load_from_disk(monkeypatch, path, n_slots, load=glmq.load, **options):
    """Load so that `n_slots` experts stay in memory. load: what loads, of a path, `ram` and the options."""
    with load(path, **options) as mapped:
        needs = needs_of(mapped.file, mapped._program, mapped.n_ctx)
        top_k = mapped._program.expert_layers[0].routing.top_k
    monkeypatch.setattr(placement, "RESERVE", 0)
    monkeypatch.setattr(placement, "resident_memory", lambda: 0)
    staging = max(placement.LEAST_STAGING, top_k + placement.PREFETCHED)
    budget = needs.least_work + needs.kv_cache + (staging + n_slots) * expert_sizes(path)[1]
    with monkeypatch.context() as small:
        small.setattr("glmq.loading.plan_memory", plan_with_experts_on_disk)
        model = load(path, ram=budget, **options)
    assert model.experts.placement.n_slots == n_slots
    return model


def plan_with_experts_on_disk(needs, budget):
    """A plan for models that are smaller than the memory through which experts pass."""
    batch = min(needs.work)
    return MemoryPlan(budget, False, batch, needs.work[batch], needs.kv_cache)


class UnreliableDisk:
    """Takes its time at random, and fails the first `failures` times that a place is read.

    `address`: of a function that a `DiskReader` takes for `read`.
    """

    def __init__(self, failures: int = 1, seconds: float = 0.0, seed: int = 0) -> None:
        self.reads: Counter[tuple[int, int]] = Counter()
        self.failures, self._seconds, self._rng = failures, seconds, random.Random(seed)
        kind = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)
        self._function = kind(self._read)
        self.address = ctypes.cast(self._function, ctypes.c_void_p).value

    def _read(self, request: int, thread: int, threads: int) -> None:
        slots = (ctypes.c_int64 * 8).from_address(request)
        file, offset, size, address = (
            slots[at // 8] for at in (REQUEST_FILE, REQUEST_OFFSET, REQUEST_BYTES, REQUEST_ADDRESS)
        )
        time.sleep(self._rng.random() * self._seconds)
        self.reads[file, offset] += 1
        if self.reads[file, offset] <= self.failures:
            result = -errno.EIO
        else:
            result = os.preadv(file, [(ctypes.c_char * size).from_address(address)], offset)
        slots[REQUEST_RESULT // 8] = result
