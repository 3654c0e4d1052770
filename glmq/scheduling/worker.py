"""The scheduler's thread: it takes requests in, runs steps, and tells callers what has come of them."""

from __future__ import annotations

import math
import time
import weakref
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Literal

from .request import Call, Cancelled, PagedSequence, Reply, Request
from .row_costs import RowCosts
from .step_queue import Step, StepQueue

SECTION_SECONDS = 0.4
"""How long a step goes on before it is asked again whether anybody wants it."""

NOT_WORTH_ENDING = 0.8
"""Seconds: a step that others want too is not given up for one caller when so little of it is left."""

AnyCall = Call[Any, Any]

Note = tuple[Literal["begin", "end"], "weakref.ref[PagedSequence]"]
"""That a sequence's only answer begins, or has ended."""


class Stopped(Exception):
    """The scheduler has ended."""


class Worker:
    """What the thread and its callers share, and the thread's own life (`serve`).

    inbox: requests, calls, notes, and None to wake the thread. running: requests of the step that is being
    evaluated, or the call. ended: whether nothing is taken in any more. stopped_by: makes the error for
    those who come then. then: called at the very end.
    """

    def __init__(self, max_tokens: int, *, deterministic: bool) -> None:
        self.inbox: SimpleQueue[Request | AnyCall | Note | None] = SimpleQueue()
        self.running: frozenset[Request | AnyCall] = frozenset()
        self.ended = False
        self.stopped_by: Callable[[], BaseException] = Stopped
        self.then: Callable[[], None] = lambda: None
        self._stopping = False
        self._steps = StepQueue(max_tokens, deterministic=deterministic)
        self._calls: deque[AnyCall] = deque()

    @property
    def row_costs(self) -> RowCosts:
        """What steps have cost that only decode."""
        return self._steps.costs.decode

    @property
    def max_tokens(self) -> int:
        """Tokens of a step at most."""
        return self._steps.max_tokens

    @max_tokens.setter
    def max_tokens(self, most: int) -> None:
        self._steps.max_tokens = most

    def stop(self) -> None:
        """Let the thread end soon; from any thread."""
        self._stopping = True
        self.inbox.put(None)

    def serve(self) -> None:
        """The life of the thread."""
        while not self._stopping:
            try:
                self._turn()
            except BaseException as error:  # callers must hear of what goes wrong here, or wait for ever
                self._steps.remove_all(error)
        self.ended = True
        self._take_all()
        self._steps.remove_all(self.stopped_by())
        while self._calls:
            self._calls.popleft().replies.put(self.stopped_by())
        then, self.then = self.then, lambda: None
        then()

    def _turn(self) -> None:
        """Make the next call or run the next step, or wait for something to do."""
        due = None if self._calls else self._steps.next(time.monotonic())
        if self._calls:
            self._make([call for call in self._calls if call.run == self._calls[0].run])
        elif isinstance(due, Step):
            self._run(due)
        else:
            self._take(None if due is None else max(0.0, due - time.monotonic()))
        self._take_all()

    def _take(self, timeout: float | None) -> None:
        """Wait for one thing that comes in."""
        try:
            found = self.inbox.get(timeout=timeout)
        except Empty:
            return
        self._sort(found)

    def _take_all(self) -> None:
        """Take in what is there."""
        while True:
            try:
                found = self.inbox.get_nowait()
            except Empty:
                return
            self._sort(found)

    def _sort(self, found: Request | AnyCall | Note | None) -> None:
        now = time.monotonic()
        if isinstance(found, Request):
            self._steps.submit(found, now)
        elif isinstance(found, Call):
            self._steps.came_back(found.sequence, now)
            self._calls.append(found)
        elif found is not None and (sequence := found[1]()) is not None:
            if found[0] == "begin":
                self._steps.begin(sequence)
            else:
                self._steps.end(sequence, now)

    def _make(self, calls: list[AnyCall]) -> None:
        """Make calls of one function."""
        self.running = frozenset(calls)
        reply: Reply = None
        for call in calls:
            self._calls.remove(call)
        wanted = [call for call in calls if not call.ended]
        try:
            if wanted:
                results = wanted[0].run([call.wanted for call in wanted])
                for call, result in zip(wanted, results, strict=True):
                    call.results.append(result)
        except BaseException as error:
            reply = error
        finally:
            self.running = frozenset()
        for call in calls:
            self._steps.expect_again(call.sequence, time.monotonic())
        replies = [(call.replies, reply if call in wanted else Cancelled()) for call in calls]
        del call, calls, wanted  # as below
        for queue, each in replies:
            queue.put(each)

    def _run(self, step: Step) -> None:
        self.running = frozenset(chunk.request for chunk in step.chunks)
        replies = []
        try:
            if not any(request.ended for request in self.running):
                replies = self._evaluate(step)
        except BaseException as error:
            for chunk in step.chunks:
                self._steps.remove(chunk.request, error)
        finally:
            self.running = frozenset()
        del step  # From here on callers may let go of the engine, and then nothing here should hold it.
        for queue, reply in replies:
            queue.put(reply)

    def _evaluate(self, step: Step) -> list[tuple[SimpleQueue[Reply], Reply]]:
        began = time.monotonic()
        n_sections = None if step.seconds is None else math.ceil(step.seconds / SECTION_SECONDS)
        runner = step.chunks[0].request.runner
        if runner.run_step(step.chunks, n_sections, partial(self._goes_on, step, began)):
            return self._steps.finish(step, began, time.monotonic())
        return []

    def _goes_on(self, step: Step, began: float) -> bool:
        """Whether the step that is being evaluated is still wanted. Takes in what comes meanwhile."""
        self._take_all()
        self._steps.remove_ended(self.running)
        if self._stopping:
            return False
        ended = [chunk for chunk in step.chunks if chunk.request.ended]
        if not ended or len(ended) == len(step.chunks):
            return not ended
        return step.seconds is not None and began + step.seconds - time.monotonic() < NOT_WORTH_ENDING
