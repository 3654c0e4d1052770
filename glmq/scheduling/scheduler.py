"""The scheduler: one thread for each engine, which runs step after step while somebody wants something."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np

from .request import Call, PagedSequence, Progress, R, Reply, Request, Runner, W
from .row_costs import RowCosts
from .worker import Worker

STOPPING_SECONDS = 20.0
"""How long `stop` waits for the thread. It takes longer only where a signal's handler closes a model inside
something that the thread waits for."""

POLL_SECONDS = 0.005
"""How often a caller who was interrupted looks whether its request is still being evaluated."""

WAIT_SECONDS = 0.05
"""Waiting ends this often, so that handlers of signals can run: Windows does not interrupt it for them, and
other systems not where the signal comes just before it."""


class Scheduler:
    """Evaluates tokens of any number of sequences, for callers in any threads.

    max_tokens: of a step. deterministic: whether every token takes the row form of products, so that results
    depend on tokens alone.

    The thread holds no engine while there are no requests, so that an engine that nobody wants goes, and the
    thread with it. Callers and thread talk through queues alone: no lock is held anywhere when the handler of
    a signal closes the model.
    """

    def __init__(self, max_tokens: int, *, deterministic: bool = False) -> None:
        self._worker = worker = Worker(max_tokens, deterministic=deterministic)
        self._process = os.getpid()
        self._thread = threading.Thread(target=worker.serve, name="glmq-scheduler", daemon=True)
        self._thread.start()
        self._finalizer = weakref.finalize(self, _stop, worker, self._thread, self._process)

    def evaluate(
        self,
        runner: Runner,
        sequence: PagedSequence,
        tokens: np.ndarray,
        logits: np.ndarray,
        *,
        n_draft: int = 0,
        promised: float = 0.0,
        is_cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Request:
        """Extend a sequence by int64 (n,) tokens; wait for that. Gives the request as it was evaluated.

        logits: float32 (m, n_vocab), filled for the last m of them. n_draft, promised: of a draft
        among the tokens (see `Request`). is_cancelled: asked before each step and several times in long ones,
        in another thread. progress: called in this thread with the numbers of tokens done and wanted;
        meanwhile nothing more of them is read.

        What ends it early leaves the sequence as far as whole steps have brought it. That is Cancelled, what
        `progress` or the handler of a signal raises, ContextFull, OutOfPages, what the runner raises, and
        the error that `stop` was given.
        """
        hands_back = progress is not None
        request = Request(runner, sequence, tokens, logits, is_cancelled, hands_back, n_draft, promised)
        reply: Reply = Progress(0)
        while isinstance(reply, Progress):
            reply = self._ask(request)
            if progress is not None:
                progress(request.n_done, len(tokens))
        return request

    @property
    def row_costs(self) -> RowCosts:
        """What steps have cost that only decode, by their tokens."""
        return self._worker.row_costs

    def call(
        self,
        sequence: PagedSequence,
        wanted: W,
        run: Callable[[Sequence[W]], Sequence[R]],
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> R:
        """What `run` gives for what is wanted, in the scheduler's thread between two steps; wait for that.

        run: does what several callers want, as many as wait for the same function. sequence: the one that it
        is about, for which the next step then waits a little. is_cancelled: asked before. Raises Cancelled,
        what `run` raises, and the error that `stop` was given.
        """
        call = Call(sequence, wanted, run, is_cancelled)
        self._ask(call)
        return call.results[0]

    @property
    def max_tokens(self) -> int:
        """Tokens of a step at most."""
        return self._worker.max_tokens

    @max_tokens.setter
    def max_tokens(self, most: int) -> None:
        self._worker.max_tokens = most

    def begin(self, sequence: PagedSequence) -> None:
        """Take note that a sequence belongs to one answer, and gives its pages back after that."""
        self._worker.inbox.put(("begin", weakref.ref(sequence)))

    def end(self, sequence: PagedSequence) -> None:
        """Take note that such a sequence has given its pages back."""
        self._worker.inbox.put(("end", weakref.ref(sequence)))

    def stop(self, error: Callable[[], BaseException], then: Callable[[], None]) -> None:
        """End the thread, which calls `then` in the end; whoever waits or comes later gets the error.

        Returns when that is done. In a copy of the process, made by fork, there is no thread to end.
        """
        self._worker.stopped_by, self._worker.then = error, then
        _stop(self._worker, self._thread, self._process)

    def _ask(self, asked: Request | Call[Any, Any]) -> Reply:
        """Put something in, and wait for what is said of it. Raises that where it is an error."""
        try:
            self._worker.inbox.put(asked)
            if self._worker.ended:
                raise self._worker.stopped_by()
            reply = _wait(asked.replies)
        except BaseException:
            self._withdraw(asked)
            raise
        if isinstance(reply, BaseException):
            raise reply
        return reply

    def _withdraw(self, request: Request | Call[Any, Any]) -> None:
        """Come back when nothing of the request is being evaluated any more, whatever comes meanwhile."""
        request.withdrawn = True
        self._worker.inbox.put(None)
        interrupted: KeyboardInterrupt | None = None
        while request in self._worker.running and self._thread.is_alive():
            try:
                time.sleep(POLL_SECONDS)
            except KeyboardInterrupt as error:
                interrupted = error
        if interrupted is not None:
            raise interrupted


def _wait(replies: SimpleQueue[Reply]) -> Reply:
    """Wait for a reply; the handlers of signals run meanwhile."""
    while True:
        with suppress(Empty):
            return replies.get(timeout=WAIT_SECONDS)


def _stop(worker: Worker, thread: threading.Thread, process: int) -> None:
    if os.getpid() != process:
        return
    worker.stop()
    if thread is not threading.current_thread():
        thread.join(STOPPING_SECONDS)
