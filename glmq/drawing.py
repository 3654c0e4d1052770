"""How a generation comes about: the prompt is read, then tokens are drawn until something ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace

import numpy as np
from glmq_kernels.errors import GlmqError
from glmq_kernels.gemm.sizes import ROW_TOKENS

from .answer_costs import Timings
from .answer_session import AnswerSession
from .drafting.answer_drafting import AnswerDrafting
from .errors import ModelClosed, OutOfPages
from .guide import Guide, n_allowed
from .repetition import Repetition
from .sampling import Sampler, Sampling
from .scheduling.request import Cancelled
from .session import Evaluated, Session, User
from .stop_texts import StopTexts
from .token_logprobs import TokenLogprob, token_logprob
from .tokenizer import Tokenizer


class Drawing:
    """The state behind a `Generation`, and the user of its session.

    session: where its tokens are evaluated. new_drafting: makes what guesses tokens for an answer in a
    session, None where nothing does.
    """

    def __init__(
        self,
        session: AnswerSession,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        sampling: Sampling,
        max_tokens: int | None,
        stop: Sequence[str],
        progress: Evaluated | None,
        guide: Guide | None = None,
        n_top_logprobs: int | None = None,
        new_drafting: Callable[[Session, User], AnswerDrafting] | None = None,
    ) -> None:
        self.prompt = list(prompt)
        self.tokens: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.text = ""
        self.finish_reason: str | None = None
        self._timings = Timings()  # of the prompt
        self._decode_seconds = 0.0
        self._source, self._tokenizer = session, tokenizer
        self._sampler = Sampler(sampling, tokenizer, self.prompt)
        self._repetition = Repetition()
        self._guide = guide
        self._n_top_logprobs = n_top_logprobs
        self._max_tokens, self._progress = max_tokens, progress
        self._stop = StopTexts(stop)
        self._cancelled = threading.Event()
        self._session: Session | None = None
        self._new_drafting = new_drafting
        self._drafting: AnswerDrafting | None = None
        self._at_rest = True

    @property
    def timings(self) -> Timings:
        """What it has cost so far."""
        timings = replace(self._timings, n_generated=len(self.tokens), decode_seconds=self._decode_seconds)
        return timings if self._drafting is None else self._drafting.statistics.added_to(timings)

    @property
    def looping(self) -> bool:
        """Whether the end of what was drawn repeats itself."""
        return self._repetition.looping

    def cancel(self) -> None:
        """Go no further; from any thread."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether it is to go no further."""
        return self._cancelled.is_set() or (self._session is not None and self._session.closed)

    @property
    def has_ended(self) -> bool:
        """Whether it will not touch the session any more: it has ended, or ends when it is asked again."""
        return self.finish_reason is not None or (self._at_rest and self.cancelled)

    def pieces(self) -> Generator[str, None, None]:
        """Text as it becomes certain, from a session that is claimed meanwhile."""
        self._at_rest = False
        if self.cancelled:
            self.finish_reason = "cancelled"
            return
        try:
            self._session = self._source.take(self)
        except BaseException:
            self.finish_reason = "cancelled"
            raise
        try:
            for piece in self._certain():
                self.text += piece
                self._at_rest = True
                yield piece
                self._at_rest = False
        except ModelClosed:
            pass  # before the prompt was begun
        finally:
            self.finish_reason = self.finish_reason or "cancelled"
            self._end_drafting()
            self._source.give_back(self)

    def _certain(self) -> Iterator[str]:
        """Text of whole characters that cannot begin a stop string any more."""
        stream = self._tokenizer.stream()
        for token in self._draw():
            if piece := self._stop.push(stream.push(token)):
                yield piece
            if self._stop.found:
                self.finish_reason = "stop"
                return
        unfinished = stream.flush() if self.finish_reason == "stop" else ""
        if piece := self._stop.push(unfinished) + self._stop.flush():
            yield piece

    def _draw(self) -> Iterator[int]:
        """Tokens until the model, the guide, a limit or the caller ends it."""
        logits = self._read_prompt()
        began = time.perf_counter()
        while logits is not None and not self._ended():
            tokens = self._choose(logits)
            while tokens:
                for token in tokens:
                    if token in self._tokenizer.eog_ids:
                        self.finish_reason = "stop"
                        return
                    self._accept(token)
                    self._decode_seconds = time.perf_counter() - began
                    yield token
                    if self._ended():
                        return
                tokens = self._forced_beside()
            logits = self._next_logits()

    def _choose(self, logits: np.ndarray) -> Sequence[int]:
        """The tokens that the guide forces, or one that is drawn."""
        if self._guide and (forced := self._guide.forced()):
            return self._taken(forced)
        unmasked = logits if self._n_top_logprobs is None else logits.copy()
        if self._guide:
            self._guide.mask(logits)
        token = self._sampler.sample(logits)
        if self._n_top_logprobs is not None:
            self.logprobs.append(token_logprob(unmasked, token, self._n_top_logprobs))
        return [token]

    def _forced_beside(self) -> Sequence[int]:
        """The tokens that the guide forces behind those drawn, where one run takes all in the row form.

        Nobody needs logits before them. Longer ones are evaluated by themselves, like a prompt.
        """
        forced = self._guide.forced() if self._guide else ()
        if len(self._claimed.drawn) + len(forced) > ROW_TOKENS:
            return ()
        return self._taken(forced)

    def _taken(self, forced: Sequence[int]) -> Sequence[int]:
        for token in forced:
            self._sampler.accept(token)
        if self._n_top_logprobs is not None:
            self.logprobs += [TokenLogprob(token, 0.0) for token in forced]
        return forced

    def _accept(self, token: int) -> None:
        """Go on behind a token that is part of the answer now."""
        if self._guide:
            self._guide.accept(token)
        self.tokens.append(token)
        self._claimed.drawn.append(token)
        self._repetition.accept(token)
        if self._drafting is not None:
            self._drafting.accept(token)

    def _ended(self) -> bool:
        """Whether no token may follow; finish_reason then says why."""
        session = self._claimed
        if self._guide and self._guide.finished:
            self.finish_reason = "stop"
        elif self.cancelled:
            self.finish_reason = "cancelled"
        elif self._max_tokens is not None and len(self.tokens) >= self._max_tokens:
            self.finish_reason = "length"
        elif len(session.tokens) + len(session.drawn) > session.n_ctx:
            self.finish_reason = "context"
        return self.finish_reason is not None

    @property
    def _claimed(self) -> Session:
        assert self._session is not None, "pieces() has begun"
        return self._session

    def _next_logits(self) -> np.ndarray | None:
        """The logits after what was drawn: known already where the last run's draft began with that."""
        session, drafting = self._claimed, self._drafting
        if drafting is not None:
            session.take_known()
        drawn = session.drawn
        if drafting is not None and session.knows(drawn):
            drafting.run_saved()
        elif drafting is not None and not (self._guide and self._guide.forced()):
            return self._checked(drafting)
        return self._evaluate(drawn)

    def _checked(self, drafting: AnswerDrafting) -> np.ndarray | None:
        """The logits after what was drawn, of a run that checks guesses of what follows."""
        session = self._claimed
        try:
            draft = self._draft(drafting)
        except (Cancelled, ModelClosed):
            self.finish_reason = "cancelled"
            return None
        promised = min(drafting.promised, len(draft))  # a guide may have ruled some out
        logits = self._evaluate(session.drawn, draft=draft, promised=promised)
        if draft:
            drafting.checked(session.n_known)
        return logits

    def _draft(self, drafting: AnswerDrafting) -> Sequence[int]:
        """Guesses of what follows those drawn, without such as cannot come."""
        session = self._claimed
        n_drawn = len(session.drawn)
        n_most = session.n_ctx - len(session.tokens) - n_drawn
        if self._max_tokens is not None:
            n_most = min(n_most, self._max_tokens - len(self.tokens) - 1)
        draft = drafting.draft(n_drawn, session.beside, n_most)
        return draft[: n_allowed(self._guide, draft)] if draft else draft

    def _begin_drafting(self) -> None:
        if self._new_drafting is not None:
            self._drafting = self._new_drafting(self._claimed, self)
            self._drafting.begin(self.prompt)

    def _end_drafting(self) -> None:
        self._claimed.forget_draft()
        if self._drafting is not None:
            self._drafting.end(self.timings)

    def _evaluate(
        self,
        tokens: Sequence[int],
        progress: Evaluated | None = None,
        draft: Sequence[int] = (),
        promised: float = 0.0,
    ) -> np.ndarray | None:
        """The logits after the last token; None when it ends before that.

        It is cancelled, the model is closed, or behind the prompt there is no more memory.
        """
        try:
            return self._claimed.evaluate(tokens, progress, draft=draft, promised=promised, user=self)
        except (Cancelled, ModelClosed):
            self.finish_reason = "cancelled"
        except OutOfPages:
            if not self.tokens:
                raise
            self.finish_reason = "context"
        return None

    def _read_prompt(self) -> np.ndarray | None:
        """Evaluate what of the prompt the session does not hold yet; gives the logits after it."""
        if not self.prompt:
            raise GlmqError("the prompt is empty; give the model something to continue")
        session = self._claimed
        session.require_room(len(self.prompt))
        n_cached = session.adopt(self.prompt[:-1], user=self)
        began = time.perf_counter()
        logits = self._evaluate(self.prompt[n_cached:], self._progress)
        if logits is not None:
            self._begin_drafting()
        seconds = time.perf_counter() - began
        self._timings = Timings(n_cached, len(session.tokens) - n_cached, seconds)
        return logits
