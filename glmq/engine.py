"""The engine: a model's program with the threads that run it."""

from __future__ import annotations

import threading

import numpy as np
from glmq_kernels.compilation import Progress
from glmq_kernels.store import kernels
from glmq_kernels.tape import Work
from glmq_kernels.team import KERNELS as TEAM_KERNELS
from glmq_kernels.team import Team

from .kv_cache import CacheShape, KVCache
from .program import Program

BATCH = 512
"""Tokens evaluated at once while a prompt is read."""


class Engine:
    """Runs batches of tokens, one at a time, whichever thread they come from."""

    def __init__(self, program: Program, n_threads: int, progress: Progress | None = None) -> None:
        self._lock = threading.Lock()
        self._program = program
        kernels([*program.tape.kernel_names(), *TEAM_KERNELS], progress)
        self._program.tape.finish()
        self._team = Team(n_threads)

    @property
    def max_tokens(self) -> int:
        """Largest batch."""
        return self._program.tape.max_tokens

    @property
    def n_vocab(self) -> int:
        """Entries of the logits."""
        return self._program.n_vocab

    @property
    def work(self) -> Work:
        """Bytes and multiply-adds of the matrix products of one token."""
        return self._program.tape.work

    @property
    def cache_shape(self) -> CacheShape:
        """What a session's KV cache must hold."""
        return self._program.cache_shape

    def run(self, tokens: np.ndarray, n_past: int, cache: KVCache, logits: np.ndarray) -> None:
        """Evaluate int64 (n,) tokens; logits float32 (m, n_vocab) is filled for the last m of them."""
        with self._lock:
            self._program.run(self._team, tokens, n_past, cache, logits, len(tokens) - len(logits))

    def close(self) -> None:
        """End the threads."""
        with self._lock:
            if self._program.residency is not None:
                self._program.residency.settle()
            self._team.close()
