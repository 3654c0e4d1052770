"""What all routes share: the model, the threads in which it answers, who waits, and what has been counted."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakSet

from .. import __version__
from ..sampling.recommendations import recommended
from .admission import Admission
from .answer_events import AnswerEvent, Finished, Piece, PromptRead, WholeAnswer
from .answer_run import Answering, AnswerRun
from .api_error import error_of, shutting_down
from .log import log_fault, log_request
from .metrics import Metrics
from .openai.response_store import ResponseStore
from .preparation import prepare_chat, prepare_completions
from .requests import ChatRequest, CompletionRequest, Limits
from .settings import ServerSettings

if TYPE_CHECKING:
    from ..model import Model

Result = TypeVar("Result")

N_SHORT_THREADS = 4
"""For what takes a moment, such as making prompts; answers have threads of their own."""


class Service:
    """A model that is served. The model stays open when the service is closed."""

    def __init__(self, model: Model, settings: ServerSettings) -> None:
        self.model, self.settings = model, settings
        self.model_name = settings.model_name or model.path.name.removesuffix(".gguf")
        self.started_at = int(time.time())
        self.fingerprint = f"glmq-{__version__}"
        self.sampling = settings.sampling or recommended(model.file.metadata)
        self._sampling = {each.name: getattr(self.sampling, each.name) for each in fields(self.sampling)}
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
                self.log_fault("a request failed", error)
            raise told from None

    async def begin_chat(self, request: ChatRequest) -> AnswerRun:
        """Answers to a conversation that begin as soon as it is their turn. Raises ApiError."""
        self._require_turn(request.limits.n)
        self._log_prompt("messages", request.messages)
        request = replace(
            request, sampling={**self._sampling, **request.sampling}, limits=self._limited(request.limits)
        )
        return self._begin(await self.in_thread(prepare_chat, self.model, request))

    async def begin_completions(self, request: CompletionRequest) -> AnswerRun:
        """Continuations of texts. Raises ApiError."""
        self._require_turn(request.limits.n * len(request.prompts))
        self._log_prompt("prompts", request.prompts)
        request = replace(
            request, sampling={**self._sampling, **request.sampling}, limits=self._limited(request.limits)
        )
        return self._begin(await self.in_thread(prepare_completions, self.model, request))

    async def events(self, run: AnswerRun) -> AsyncGenerator[AnswerEvent, None]:
        """The events of answers, which are logged where that is wanted."""
        said: defaultdict[int, WholeAnswer] = defaultdict(WholeAnswer)
        try:
            async with aclosing(run.events()) as events:
                async for event in events:
                    if self.settings.log_prompts and not isinstance(event, PromptRead):
                        said[event.choice].take(event)
                    yield event
        finally:
            for each in said.values():
                told = {"reasoning": each.reasoning, "content": each.content, "calls": str(each.calls)}
                log_request("answer: %(reasoning)s %(content)s %(calls)s", told)

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
        """Take no more requests, and end all answers now; streams end with an error."""
        self.is_ending = True
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

    def log_fault(self, what: str, error: BaseException) -> None:
        """Tell of an error in the program."""
        log_fault(what, error, whole=self.settings.log_prompts)

    def _begin(self, answers: Sequence[Answering]) -> AnswerRun:
        if self.is_ending:  # since the request came
            raise shutting_down()
        run = AnswerRun(
            answers,
            self.admission,
            self._long,
            on_end=partial(self._count, time.monotonic()),
            on_fault=partial(self.log_fault, "an answer failed"),
        )
        self._runs.add(run)
        return run

    def _limited(self, limits: Limits) -> Limits:
        most, wanted = self.settings.max_tokens, limits.max_tokens
        if most is None or (wanted is not None and wanted <= most):
            return limits
        return replace(limits, max_tokens=most)

    def _log_prompt(self, what: str, asked: object) -> None:
        if self.settings.log_prompts:
            log_request(f"{what}: %({what})s", {what: asked})

    def _count(self, began: float, finished: Finished) -> None:
        self.metrics.count(finished)
        usage = finished.usage
        log_request(
            "answered: %(prompt_tokens)d tokens of prompt, %(cached_tokens)d of them cached,"
            " %(completion_tokens)d of answer, %(reason)s, %(seconds).2f s",
            {
                "prompt_tokens": usage.prompt_tokens,
                "cached_tokens": usage.cached_tokens,
                "completion_tokens": usage.completion_tokens,
                "reason": finished.reason,
                "seconds": round(time.monotonic() - began, 3),
            },
        )
