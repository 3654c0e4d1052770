"""Answers that run in threads, and their events on the event loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from functools import partial
from typing import Protocol

from .admission import Admission, Ticket
from .answer_events import AnswerEvent, Finished
from .api_error import ApiError, error_of

log = logging.getLogger("glmq.server")


class Answering(Protocol):
    """An answer that is ready to be generated."""

    @property
    def n_prompt(self) -> int:
        """Tokens of its prompt."""

    def run(self, post: Callable[[AnswerEvent], None]) -> None:
        """Generate it, in the calling thread."""

    def cancel(self) -> None:
        """End it at the next token, from any thread."""


class AnswerRun:
    """The answers of one request. Iterate over `events()`, once; leaving that ends the answers.

    Raises ApiError 429 when they are too many for the queue.
    """

    def __init__(self, answers: Sequence[Answering], admission: Admission, executor: Executor) -> None:
        admission.require_room(len(answers))
        self._answers, self._admission, self._executor = answers, admission, executor
        self._events: asyncio.Queue[AnswerEvent | BaseException] = asyncio.Queue()
        self._tasks = [
            asyncio.create_task(self._answer(answer, admission.enter())) for answer in self._answers
        ]

    @property
    def n_prompt(self) -> int:
        """Tokens of the first prompt."""
        return self._answers[0].n_prompt

    async def events(self) -> AsyncIterator[AnswerEvent]:
        """The events of all answers as they come. Raises ApiError for what goes wrong."""
        n_left = len(self._answers)
        try:
            while n_left:
                event = await self._events.get()
                if isinstance(event, BaseException):
                    raise event
                n_left -= isinstance(event, Finished)
                yield event
        finally:
            self.cancel()

    def cancel(self) -> None:
        """End all answers at their next tokens."""
        for answer in self._answers:
            answer.cancel()
        for task in self._tasks:
            task.cancel()

    def fail(self, error: ApiError) -> None:
        """End all answers with an error."""
        self._events.put_nowait(error)

    async def _answer(self, answer: Answering, ticket: Ticket) -> None:
        """Wait for a slot and keep it until the answer's thread has ended."""
        try:
            await ticket.ready.wait()
        except asyncio.CancelledError:
            self._admission.leave(ticket)
            raise
        loop = asyncio.get_running_loop()
        post = partial(_post, loop, self._events)
        thread = loop.run_in_executor(self._executor, _run, answer, post)
        thread.add_done_callback(lambda _: self._admission.leave(ticket))
        await asyncio.shield(thread)


def _run(answer: Answering, post: Callable[[AnswerEvent | BaseException], None]) -> None:
    try:
        answer.run(post)
    except Exception as error:
        told = error_of(error)
        if told.status == 500:
            log.exception("an answer failed")
        post(told)


def _post(
    loop: asyncio.AbstractEventLoop,
    events: asyncio.Queue[AnswerEvent | BaseException],
    event: AnswerEvent | BaseException,
) -> None:
    with suppress(RuntimeError):  # the loop has ended
        loop.call_soon_threadsafe(events.put_nowait, event)
