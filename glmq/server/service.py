"""What all routes share: the model, the threads in which it answers, who waits, and what has been counted."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from .. import __version__
from .admission import Admission
from .answer_events import AnswerEvent, Finished, Piece, WholeAnswer
from .answer_run import Answering, AnswerRun
from .api_error import error_of, shutting_down
from .metrics import Metrics
from .openai.response_store import ResponseStore
from .preparation import prepare_chat, prepare_completions
from .requests import ChatRequest, CompletionRequest
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..model import Model

Result = TypeVar("Result")
log = logging.getLogger("glmq.server")

N_SHORT_THREADS = 4
"""For what takes a moment, such as making prompts; answers have threads of their own."""


class Service:
    """A model that is served. The model stays open when the service is closed."""

    def __init__(self, model: Model, settings: ServerSettings) -> None:
        self.model, self.settings = model, settings
        self.model_name = settings.model_name or model.path.name.removesuffix(".gguf")
        self.started_at = int(time.time())
        self.fingerprint = f"glmq-{__version__}"
        self.admission = Admission(settings.n_parallel, settings.n_queue)
        self.metrics = Metrics()
        self.responses = ResponseStore()
        self.is_ending = False
        self._short = ThreadPoolExecutor(N_SHORT_THREADS, "glmq short")
        self._long = ThreadPoolExecutor(settings.n_parallel, "glmq answer")
        self._runs: WeakSet[AnswerRun] = WeakSet()

    async def in_thread(self, work: Callable[..., Result], *arguments: object) -> Result:
        """What `work` gives, which takes a moment and so runs in a thread. Raises ApiError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._short, work, *arguments)
        except Exception as error:
            told = error_of(error)
            if told.status == 500:
                log.exception("a request failed")
            raise told from error

    async def begin_chat(self, request: ChatRequest) -> AnswerRun:
        """Answers to a conversation that begin as soon as it is their turn. Raises ApiError."""
        self._require_turn(request.limits.n)
        if self.settings.log_prompts:
            log.info("messages: %s", request.messages)
        return self._begin(await self.in_thread(prepare_chat, self.model, request))

    async def begin_completions(self, request: CompletionRequest) -> AnswerRun:
        """Continuations of texts. Raises ApiError."""
        self._require_turn(request.limits.n * len(request.prompts))
        if self.settings.log_prompts:
            log.info("prompts: %s", request.prompts)
        return self._begin(await self.in_thread(prepare_completions, self.model, request))

    async def events(self, run: AnswerRun) -> AsyncGenerator[AnswerEvent, None]:
        """The events of answers, which are counted."""
        began = time.monotonic()
        try:
            async for event in run.events():
                if isinstance(event, Finished):
                    self.metrics.count(event)
                    log.info(
                        "answered: %d tokens of prompt, %d of them cached, %d of answer, %s, %.2f s",
                        event.usage.prompt_tokens,
                        event.usage.cached_tokens,
                        event.usage.completion_tokens,
                        event.reason,
                        time.monotonic() - began,
                    )
                yield event
        finally:
            run.cancel()

    async def whole(self, run: AnswerRun, n_answers: int) -> list[WholeAnswer]:
        """The answers when all are over. Raises ApiError."""
        answers = [WholeAnswer() for _ in range(n_answers)]
        async for event in self.events(run):
            if isinstance(event, (Piece, Finished)):
                answers[event.choice].take(event)
        return answers

    def end(self) -> None:
        """Take no more requests, and end answers when they had some seconds more."""
        if not self.is_ending:
            self.is_ending = True
            asyncio.get_running_loop().call_later(self.settings.grace_seconds, self.end_answers)

    def end_answers(self) -> None:
        """End all answers now; streams end with an error."""
        for run in list(self._runs):
            run.fail(shutting_down())

    def close(self) -> None:
        """End the threads, when all answers have been ended."""
        self._short.shutdown(wait=False, cancel_futures=True)
        self._long.shutdown(wait=True, cancel_futures=True)

    def _require_turn(self, n: int) -> None:
        if self.is_ending:
            raise shutting_down()
        self.admission.require_room(n)

    def _begin(self, answers: Sequence[Answering]) -> AnswerRun:
        run = AnswerRun(answers, self.admission, self._long)
        self._runs.add(run)
        return run
