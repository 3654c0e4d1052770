"""A pool of threads that run tapes together. Each model has its own; nothing is global."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Collection, Sequence

import numpy as np

from ..arrays import address_of, aligned_zeros
from ..jit.store import Kernel, kernels, packed
from ..machine.cores import processor_count
from ..machine.numa import MemoryNode, stay_on
from .arguments import PoolCall
from .shared_state import N_OPERATIONS, OPERATIONS, SHARED_BYTES, SPINS, STOPPED, YIELDS

PATIENCE = 2000, 300
"""How often a waiting thread spins, and then yields its core, before it sleeps."""

PATIENCE_IN_A_CROWD = 0, 4
"""The same where there are more threads than processors: whoever waits is in the way of whoever works."""

KERNELS = (
    "threads.pool_kernel.initialize",
    "threads.pool_kernel.lead",
    "threads.pool_kernel.serve",
    "threads.pool_kernel.stop",
)


class ThreadPool:
    """`n_threads` threads, of which the caller of `run` is the first.

    In a copy of the process that fork has made the threads do not exist: there it neither runs nor waits for
    anything.
    """

    def __init__(
        self,
        n_threads: int,
        patience: tuple[int, int] | None = None,
        nodes: Sequence[MemoryNode] = (),
    ) -> None:
        """patience: instead of `PATIENCE`, or of `PATIENCE_IN_A_CROWD`.

        nodes: of memory, near to which equal shares of the threads stay, in order, while they run a tape; the
        caller's thread too. By default they stay nowhere.
        """
        if patience is None:
            patience = PATIENCE if n_threads <= processor_count() else PATIENCE_IN_A_CROWD
        self.n_threads = n_threads
        self._callers_processors = _processors_near(nodes, 0, n_threads)
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._shared = aligned_zeros(SHARED_BYTES)
        self._slots = self._shared.view(np.int64)
        self._slots[SPINS // 8], self._slots[YIELDS // 8] = patience
        self._arguments = packed(PoolCall, shared=address_of(self._shared))
        loaded = kernels(KERNELS)
        initialize, self._lead, serve, stop = (loaded[name] for name in KERNELS)
        initialize(address_of(self._arguments))
        memory = (self._shared, self._arguments)
        helpers = [
            threading.Thread(
                target=_help,
                args=(serve, memory, thread, n_threads, _processors_near(nodes, thread, n_threads)),
                name=f"glmq-{thread}",
                daemon=True,
            )
            for thread in range(1, n_threads)
        ]
        for helper in helpers:
            helper.start()
        self._finalizer = weakref.finalize(self, _stop, stop, memory, helpers, self._process)

    def run(self, operations: np.ndarray) -> None:
        """Run operations: int64 (n, 3) of the addresses of kernel and argument record, and barrier or not."""
        if os.getpid() != self._process:
            raise RuntimeError("the thread pool was made before fork, and its threads are not here")
        with self._lock:
            if self._slots[STOPPED // 8]:
                raise RuntimeError("the thread pool is closed")
            self._slots[OPERATIONS // 8] = address_of(operations)
            self._slots[N_OPERATIONS // 8] = len(operations)
            if self._callers_processors:
                stay_on(self._callers_processors)
            self._lead(address_of(self._arguments), 0, self.n_threads)

    def close(self) -> None:
        """End the helper threads."""
        if os.getpid() == self._process:
            with self._lock:
                self._finalizer()


Memory = tuple[np.ndarray, np.ndarray]
"""The shared state and the argument array that holds its address."""


def _processors_near(nodes: Sequence[MemoryNode], thread: int, n_threads: int) -> Collection[int]:
    """Where a thread stays: by the same rule by which it takes units (`work_units.py`)."""
    return nodes[thread * len(nodes) // n_threads].processors if nodes else ()


def _help(serve: Kernel, memory: Memory, thread: int, n_threads: int, processors: Collection[int]) -> None:
    """The life of a helper thread. It holds the memory it works on, not the pool, which can thus end."""
    if processors:
        stay_on(processors)
    serve(address_of(memory[1]), thread, n_threads)


def _stop(stop: Kernel, memory: Memory, helpers: list[threading.Thread], process: int) -> None:
    if os.getpid() != process:
        return
    stop(address_of(memory[1]))
    for helper in helpers:
        if helper is not threading.current_thread():
            helper.join()
