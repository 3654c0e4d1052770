"""The engine: a model's program with the threads that run it, its KV cache, and the scheduler before it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import numpy as np
from glmq_kernels.arrays import zeros
from glmq_kernels.jit.compilation import Progress
from glmq_kernels.jit.store import kernels
from glmq_kernels.machine.numa import MemoryNode
from glmq_kernels.threads.tape import InputSums
from glmq_kernels.threads.thread_pool import KERNELS as POOL_KERNELS
from glmq_kernels.threads.thread_pool import ThreadPool

from .batch import SequencePart
from .errors import ContextFull, LoadedBeforeFork, ModelClosed, OutOfPages
from .gguf import GGUFFile
from .kv_cache.page_file import DiskRoom, PageFile
from .kv_cache.page_pool import PagePool
from .kv_cache.page_writer import PageWriter
from .kv_cache.prefix_tree import PrefixTree
from .kv_cache.sequence import Sequence as TokenSequence
from .prediction import Predicted, Prediction, WantedDraft
from .program import Program
from .scheduling.request import Chunk
from .scheduling.scheduler import Scheduler

KEPT_OUTPUTS = 64
"""Rows of logits for which memory is kept from one step to the next."""


class Engine:
    """Runs steps of tokens of any number of sequences, whichever threads these come from.

    cache_bytes: memory of the KV cache, at most. cache_disk: disk space for its pages, None where these stay
    in memory. deterministic: whether every token takes the row form of
    products, so that results depend on a sequence's tokens alone. nodes: of memory, among which weights and
    threads are shared out. prediction_file: of the layer of multi-token prediction, where that is mapped.

    scheduler: takes what is to be evaluated. prefix_tree: of the KV cache. n_vocab: entries of the logits.
    work: of the matrix products of one token. n_operations: of a step. path: of the model's file. predicts:
    whether it has a layer of multi-token prediction for `draft`.
    """

    def __init__(
        self,
        program: Program,
        n_threads: int,
        file: GGUFFile,
        cache_bytes: int,
        *,
        deterministic: bool = False,
        nodes: Sequence[MemoryNode] = (),
        progress: Progress | None = None,
        prediction_file: GGUFFile | None = None,
        cache_disk: DiskRoom | None = None,
    ) -> None:
        self.path = file.path
        self.deterministic = deterministic
        self._files = [*dict.fromkeys((file, prediction_file or file))]
        self.n_vocab = program.n_vocab
        self.work = program.tape.work
        self.n_operations = program.tape.n_operations
        self.prefix_tree = _prefix_tree(PagePool(program.cache_shape, cache_bytes), cache_disk)
        self.predicts = program.prediction is not None
        self._process = os.getpid()
        self._closing = False
        self._program: Program | None = program
        self._logits = zeros((0, self.n_vocab), np.float32)
        self._prediction = None if program.prediction is None else Prediction(program.prediction)
        tapes = [each.tape for each in (program, program.prediction) if each is not None]
        kernels([*POOL_KERNELS, *(name for tape in tapes for name in tape.kernel_names())], progress)
        for tape in tapes:
            tape.n_nodes = max(1, len(nodes))
            tape.finish()
        self._thread_pool = ThreadPool(n_threads, nodes=nodes)
        self.scheduler = Scheduler(program.tape.max_tokens, deterministic=deterministic)

    @property
    def closed(self) -> bool:
        """Whether no step will be run any more. True as soon as `close` has been called."""
        return self._closing

    @property
    def usable(self) -> bool:
        """Whether something can be evaluated: the model is open, and this is the process that loaded it."""
        return not self._closing and not self._is_copy()

    def require_usable(self) -> None:
        """Raise ModelClosed or LoadedBeforeFork where nothing can be evaluated."""
        if self._closing:
            raise self._closed_error()
        if self._is_copy():
            raise LoadedBeforeFork(
                f"the model {self.path.name} was loaded before this process was forked, and its threads are"
                " those of the parent process; load it in this one"
            )

    def run_step(self, chunks: Sequence[Chunk], n_sections: int | None, goes_on: Callable[[], bool]) -> bool:
        """Evaluate chunks of several sequences, in the scheduler's thread (see `Runner`).

        Raises GlmqError when the model's file has changed.
        """
        self._check_unchanged()
        assert self._program is not None, "it lives as long as the scheduler's thread"
        parts = [
            SequencePart(
                chunk.tokens,
                len(chunk.request.sequence.tokens),
                chunk.request.sequence.page_table,
                len(chunk.tokens) if self.predicts else len(chunk.logits),
                chunk.in_rows,
                len(chunk.logits),
            )
            for chunk in chunks
        ]
        wanted = [chunk.logits for chunk in chunks if len(chunk.logits)]
        logits = wanted[0] if len(wanted) == 1 else self._rows(sum(map(len, wanted)))
        if not self._program.run(self._thread_pool, parts, logits, goes_on, n_sections):
            return False
        if len(wanted) > 1:
            first = 0
            for rows in wanted:
                rows[:] = logits[first : first + len(rows)]
                first += len(rows)
        if self._prediction is not None:
            n_tokens = sum(len(part.tokens) for part in parts)
            sequences = [chunk.request.sequence for chunk in chunks]
            self._prediction.follow(self._thread_pool, sequences, parts, self._program.hidden[:n_tokens])
        return True

    def draft(
        self,
        sequence: TokenSequence,
        tokens: Sequence[int],
        n_most: int,
        *,
        wants_more: Callable[[Sequence[Predicted]], bool] = lambda guesses: True,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> list[Predicted]:
        """Guess up to `n_most` tokens behind `tokens`, which follow a sequence's and are not evaluated yet.

        Between two steps, in the scheduler's thread. Fewer where there is no room for keys and values, where
        `wants_more` says no of those made so far, and where it is cancelled meanwhile; none where the model
        does not predict. What is guessed is not part of the sequence. Raises Cancelled, ModelClosed,
        LoadedBeforeFork, and GlmqError when the model's file has changed.
        """
        self.require_usable()
        if not self.predicts or not tokens or n_most < 1:
            return []

        def goes_on() -> bool:
            return not (self._closing or is_cancelled())

        wanted = WantedDraft(sequence, tokens, n_most, goes_on, wants_more)
        return self.scheduler.call(sequence, wanted, self._draft, is_cancelled)

    def _draft(self, wanted: Sequence[WantedDraft]) -> list[list[Predicted]]:
        """Drafts of several sequences together, in the scheduler's thread."""
        assert self._prediction is not None, "it lives as long as the scheduler's thread"
        self._check_unchanged()
        most = self._prediction.most_drafts
        return [
            draft
            for first in range(0, len(wanted), most)
            for draft in self._prediction.draft(
                self._thread_pool, [each.with_room() for each in wanted[first : first + most]]
            )
        ]

    def complete(self, sequence: TokenSequence) -> None:
        """Write what the layer of multi-token prediction still lacks of a sequence, where there is memory.

        Between two steps, in the scheduler's thread. Raises ModelClosed and LoadedBeforeFork.
        """
        self.require_usable()
        if sequence.hidden is not None and sequence.hidden.n_behind:
            self.scheduler.call(sequence, sequence, self._complete)

    def _complete(self, sequences: Sequence[TokenSequence]) -> Sequence[None]:
        assert self._prediction is not None, "it lives as long as the scheduler's thread"
        self._check_unchanged()
        for sequence in sequences:
            with suppress(OutOfPages, ContextFull):
                sequence.reserve(1)
                self._prediction.catch_up(self._thread_pool, [sequence])
        return [None] * len(sequences)

    @property
    def input_sums(self) -> Sequence[InputSums]:
        """What the inputs of the observed matrices add up to, over all that has been run."""
        self.require_usable()
        assert self._program is not None, "it lives until the engine is closed"
        return self._program.tape.input_sums

    def run_texts(self, texts: Sequence[np.ndarray], *, head: bool) -> None:
        """Run texts, int64 (n,) each, side by side, each from its beginning, for what is observed of them.

        Every layer works on every token, as where all outputs are wanted; head: and so does the head. In the
        calling thread, and only while nothing else is evaluated. Raises OutOfPages and ContextFull when the
        KV cache is too small for the texts, GlmqError when the model's file has changed.
        """
        self.require_usable()
        assert self._program is not None, "it lives until the engine is closed"
        self._check_unchanged()
        step = max(1, self.scheduler.max_tokens // len(texts))
        sequences = [TokenSequence(self.prefix_tree) for _ in texts]
        try:
            for sequence, tokens in zip(sequences, texts, strict=True):
                sequence.reserve(len(tokens))
            for first in range(0, max(map(len, texts)), step):
                parts = [
                    SequencePart(
                        part := tokens[first : first + step], first, sequence.page_table, len(part), False
                    )
                    for sequence, tokens in zip(sequences, texts, strict=True)
                    if len(tokens) > first
                ]
                n_logits = sum(len(part.tokens) for part in parts) if head else 0
                self._program.run(self._thread_pool, parts, zeros((n_logits, self.n_vocab), np.float32))
        finally:
            for sequence in sequences:
                sequence.release(publish=False)

    def close(self, then: Callable[[], None]) -> None:
        """Give up the step that is being run, end the threads, and then call `then`; all of it once.

        What comes later raises ModelClosed. A copy of the process, made by fork, has no threads to end.
        """
        self._closing = True
        if not self._is_copy():
            self.scheduler.stop(self._closed_error, partial(self._end, then))

    def _rows(self, n: int) -> np.ndarray:
        """Memory for rows of logits that are copied to their callers."""
        if n > KEPT_OUTPUTS:
            return zeros((n, self.n_vocab), np.float32)
        if n > len(self._logits):
            self._logits = zeros((n, self.n_vocab), np.float32)
        return self._logits[:n]

    def _closed_error(self) -> ModelClosed:
        return ModelClosed(f"the model {self.path.name} is closed; load it again")

    def _end(self, then: Callable[[], None]) -> None:
        if self._program is None:
            return
        if self._program.offload is not None:
            self._program.offload.settle()
        self._thread_pool.close()
        self._program = self._prediction = None  # and so the weights that they keep in memory
        self.prefix_tree.close()
        then()

    def _check_unchanged(self) -> None:
        """Raise GlmqError where a file that weights are mapped from has changed."""
        for file in self._files:
            file.check_unchanged()

    def _is_copy(self) -> bool:
        return os.getpid() != self._process


def _prefix_tree(pool: PagePool, disk: DiskRoom | None) -> PrefixTree:
    """The tree of a pool's pages, of which some may be on the disk. Raises GlmqError where they cannot be."""
    if disk is None:
        return PrefixTree(pool)
    file = PageFile(disk, pool.shape)
    tree = PrefixTree(pool, file)
    PageWriter(tree, file)
    return tree
