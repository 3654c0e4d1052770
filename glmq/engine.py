"""The engine: a model's program with the threads that run it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import numpy as np
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.jit.store import kernels
from glmq_kernels.threads.thread_pool import KERNELS as POOL_KERNELS
from glmq_kernels.threads.thread_pool import ThreadPool

from .errors import LoadedBeforeFork, ModelClosed
from .gguf import GGUFFile
from .kv_cache.page_pool import PagePool
from .kv_cache.prefix_tree import PrefixTree
from .kv_cache.sequence import Sequence
from .program import Program


class Engine:
    """Runs batches of tokens, one at a time, whichever thread they come from.

    max_tokens: of a batch. n_vocab: entries of the logits. work: of the matrix products of one token.
    prefix_tree: of the pages of its KV cache, which take up to `cache_bytes`. path: of the model's file.
    """

    def __init__(
        self,
        program: Program,
        n_threads: int,
        file: GGUFFile,
        cache_bytes: int,
        progress: Progress | None = None,
    ) -> None:
        self.path = file.path
        self._file = file
        self.max_tokens = program.tape.max_tokens
        self.n_vocab = program.n_vocab
        self.work = program.tape.work
        self.prefix_tree = PrefixTree(PagePool(program.cache_shape, cache_bytes))
        self._process = os.getpid()
        self._lock = threading.RLock()
        self._running = self._closing = False
        self._then: Callable[[], None] | None = None
        self._program: Program | None = program
        kernels([*program.tape.kernel_names(), *POOL_KERNELS], progress)
        program.tape.finish()
        self._thread_pool = ThreadPool(n_threads)

    @property
    def closed(self) -> bool:
        """Whether no batch will be run any more. True as soon as `close` has been called."""
        return self._closing

    def require_usable(self) -> None:
        """Raise ModelClosed or LoadedBeforeFork where no batch can be run."""
        if self._closing:
            raise ModelClosed(f"the model {self.path.name} is closed; load it again")
        if self._is_copy():
            raise LoadedBeforeFork(
                f"the model {self.path.name} was loaded before this process was forked, and its threads are"
                " those of the parent process; load it in this one"
            )

    def run(self, tokens: np.ndarray, n_past: int, sequence: Sequence, logits: np.ndarray) -> None:
        """Evaluate int64 (n,) tokens; logits float32 (m, n_vocab) is filled for the last m of them.

        sequence: has room for them behind its first `n_past` tokens.

        Raises ModelClosed and LoadedBeforeFork, and UserError when the model's file has changed.
        """
        self.require_usable()
        with self._lock:
            self.require_usable()
            self._file.check_unchanged()
            assert self._program is not None
            self._running = True
            try:
                self._program.run(
                    self._thread_pool, tokens, n_past, sequence, logits, len(tokens) - len(logits)
                )
            finally:
                self._running = False
                self._end()

    def close(self, then: Callable[[], None]) -> None:
        """Wait for the batch that is being run, end the threads, and then call `then`; all of it once.

        What comes later raises ModelClosed. When a signal's handler closes it inside a batch, that batch ends
        it all. A copy of the process, made by fork, has no threads to end, and perhaps a lock that nobody
        gives back.
        """
        self._closing = True
        if self._is_copy():
            return
        with self._lock:
            self._then = then
            if not self._running:  # else this is a handler in the thread that runs the batch
                self._end()

    def _end(self) -> None:
        """End everything if that has been asked for and has not been done."""
        then, self._then = self._then, None
        if then is None or self._program is None:
            return
        if self._program.offload is not None:
            self._program.offload.settle()
        self._thread_pool.close()
        self._program = None  # and so the weights that it keeps in memory
        self.prefix_tree.close()
        then()

    def _is_copy(self) -> bool:
        return os.getpid() != self._process
