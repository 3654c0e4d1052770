"""A team of threads that run tapes together. Each model has its own; nothing is global."""

from __future__ import annotations

import os
import threading
import weakref

import numpy as np

from .board import N_OPERATIONS, OPERATIONS, PARKED, PARKED_STRIDE, STOPPED, board_bytes
from .memory import address_of, aligned_zeros
from .store import Kernel, arguments, kernels

KERNELS = ("tape.lead", "tape.serve", "tape.post")


def usable_cores() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Team:
    """`n_threads` threads, of which the caller of `run` is the first."""

    def __init__(self, n_threads: int) -> None:
        self.n_threads = n_threads
        self._lock = threading.Lock()
        self._board = aligned_zeros(board_bytes(n_threads))
        self._slots = self._board.view(np.int64)
        self._seen = np.zeros(n_threads, np.int64)
        self._arguments = arguments(address_of(self._board), address_of(self._seen))
        loaded = kernels(KERNELS)
        self._lead, self._serve, self._post = (loaded[name] for name in KERNELS)
        self._wake = [threading.Semaphore(0) for _ in range(n_threads)]
        self._helpers = [
            threading.Thread(
                target=_help,
                args=(
                    self._serve,
                    self._arguments,
                    self._board,
                    self._seen,
                    thread,
                    n_threads,
                    self._wake[thread],
                ),
                name=f"glmq-{thread}",
                daemon=True,
            )
            for thread in range(1, n_threads)
        ]
        for helper in self._helpers:
            helper.start()
        self._finalizer = weakref.finalize(
            self, _stop, self._board, self._arguments, self._post, self._wake, self._helpers
        )

    def run(self, operations: np.ndarray) -> None:
        """Run a tape: int64 (n, 3) of kernel address, argument address, whether to meet after it."""
        with self._lock:
            if self._slots[STOPPED // 8]:
                raise RuntimeError("the thread team is closed")
            self._slots[OPERATIONS // 8] = address_of(operations)
            self._slots[N_OPERATIONS // 8] = len(operations)
            if self.n_threads > 1:
                _call_helpers(self._board, self._arguments, self._post, self._wake)
            self._lead(address_of(self._arguments), 0, self.n_threads)

    def close(self) -> None:
        """End the helper threads."""
        with self._lock:
            self._finalizer()


def _call_helpers(
    board: np.ndarray, packed: np.ndarray, post: Kernel, wake: list[threading.Semaphore]
) -> None:
    post(address_of(packed))
    slots = board.view(np.int64)
    for thread in range(1, len(wake)):
        if slots[(PARKED + PARKED_STRIDE * thread) // 8]:
            wake[thread].release()


def _help(
    serve: Kernel,
    packed: np.ndarray,
    board: np.ndarray,
    seen: np.ndarray,
    thread: int,
    n_threads: int,
    wake: threading.Semaphore,
) -> None:
    """The life of a helper thread. It holds the memory it works on, not the team, which can thus end."""
    slots = board.view(np.int64)
    while not slots[STOPPED // 8]:
        serve(address_of(packed), thread, n_threads)
        if not slots[STOPPED // 8]:
            wake.acquire()


def _stop(
    board: np.ndarray,
    packed: np.ndarray,
    post: Kernel,
    wake: list[threading.Semaphore],
    helpers: list[threading.Thread],
) -> None:
    board.view(np.int64)[STOPPED // 8] = 1
    post(address_of(packed))
    for semaphore in wake:
        semaphore.release()
    for helper in helpers:
        if helper is not threading.current_thread():
            helper.join(timeout=5)
