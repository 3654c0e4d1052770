"""Answers that run in threads, and their events on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

from ..event_loop import told_in_loop
from .admission import Admission, Ticket
from .answer_events import AnswerEvent, Finished
from .api_error import ApiError, error_of


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

    on_end: is told how each answer ended, also where nobody iterates any more; on_fault: of errors in the
    program. Raises ApiError when there are too many answers for the queue.
    """

    def __init__(
        self,
        answers: Sequence[Answering],
        admission: Admission,
        executor: Executor,
        on_end: Callable[[Finished], None],
        on_fault: Callable[[BaseException], None],
    ) -> None:
        admission.require_room(len(answers))
        self._answers, self._admission, self._executor = answers, admission, executor
        self._on_end, self._on_fault = on_end, on_fault
        self._post = told_in_loop(self._take)
        self._events: asyncio.Queue[AnswerEvent | ApiError] = asyncio.Queue()
        self._tickets = [admission.enter(partial(self._begin, answer)) for answer in answers]

    @property
    def n_prompt(self) -> int:
        """Tokens of the first prompt."""
        return self._answers[0].n_prompt

    async def events(self) -> AsyncGenerator[AnswerEvent, None]:
        """The events of all answers as they come. Raises ApiError for what goes wrong."""
        n_left = len(self._answers)
        try:
            while n_left:
                event = await self._events.get()
                if isinstance(event, ApiError):
                    raise event
                n_left -= isinstance(event, Finished)
                yield event
        finally:
            self.cancel()

    def cancel(self) -> None:
        """End all answers at their next tokens. Those that run keep their slots until then."""
        for answer, ticket in zip(self._answers, self._tickets, strict=True):
            answer.cancel()
            if ticket.number is None:
                self._admission.leave(ticket)

    def fail(self, error: ApiError) -> None:
        """End all answers with an error."""
        self._events.put_nowait(error)
        self.cancel()

    def _begin(self, answer: Answering, ticket: Ticket) -> None:
        """Let a thread generate an answer, which has a slot until that is over."""
        thread = asyncio.get_running_loop().run_in_executor(self._executor, self._generate, answer)
        thread.add_done_callback(lambda _: self._admission.leave(ticket))

    def _generate(self, answer: Answering) -> None:
        try:
            answer.run(self._post)
        except Exception as error:
            told = error_of(error)
            if told.status == 500:
                self._on_fault(error)
            self._post(told)

    def _take(self, event: AnswerEvent | ApiError) -> None:
        if isinstance(event, Finished):
            self._on_end(event)
        self._events.put_nowait(event)
