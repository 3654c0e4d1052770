"""A generation: tokens drawn one after another until something ends it, as text that streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from glmq_kernels.errors import GlmqError

from .answer_session import AnswerSession
from .errors import ModelClosed, OutOfPages
from .guide import Guide
from .repetition import Repetition
from .sampling import Sampler, Sampling
from .scheduling.request import Cancelled
from .session import Evaluated, Session
from .stop_texts import StopTexts
from .token_logprobs import TokenLogprob, token_logprob
from .tokenizer import Tokenizer


@dataclass(frozen=True)
class Timings:
    """What a generation cost: tokens taken from the cache, tokens of the prompt evaluated, tokens drawn."""

    n_cached: int = 0
    n_prompt: int = 0
    prompt_seconds: float = 0.0
    n_generated: int = 0
    decode_seconds: float = 0.0

    def __add__(self, other: Timings) -> Timings:
        """Of two generations together."""
        return Timings(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def prompt_per_second(self) -> float:
        """Tokens of the prompt evaluated per second."""
        return self.n_prompt / self.prompt_seconds if self.prompt_seconds else 0.0

    @property
    def decode_per_second(self) -> float:
        """Tokens generated per second, after the prompt."""
        return self.n_generated / self.decode_seconds if self.decode_seconds else 0.0


class Generation:
    """Iterate over it for pieces of text, once. What it holds grows while that goes on.

    From the first piece to the end it has its session for itself. The end is also that it is cancelled, that
    the model is closed, or that nobody has the generation any more.
    """

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing
        # The generator holds the drawing and not this object, so that it ends as soon as this is let go of.
        self._pieces = drawing.pieces()

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def run(self) -> str:
        """Generate to the end; gives the whole text."""
        for _ in self:
            pass
        return self.text

    def cancel(self) -> None:
        """End it at the next token, or after the present batch of its prompt; from any thread."""
        self._drawing.cancel()

    @property
    def prompt(self) -> list[int]:
        """Tokens that it continues."""
        return self._drawing.prompt

    @property
    def tokens(self) -> list[int]:
        """Those drawn or forced, without the one that ended it."""
        return self._drawing.tokens

    @property
    def logprobs(self) -> list[TokenLogprob]:
        """How likely each of `tokens` was; empty where that was not asked for."""
        return self._drawing.logprobs[: len(self._drawing.tokens)]

    @property
    def text(self) -> str:
        """All pieces so far."""
        return self._drawing.text

    @property
    def finish_reason(self) -> str | None:
        """None while it runs, then why it has ended.

        "stop" (the model or the guide ended it, or a stop string came), "length" (max_tokens), "context" (no
        room left) or "cancelled". Where the last three cut a character in two, its first bytes are no text.
        """
        reason = self._drawing.finish_reason
        return "cancelled" if reason is None and self._drawing.has_ended else reason

    @property
    def looping(self) -> bool:
        """Whether its end repeats itself: a passage four times in a row, at least 80 tokens."""
        return self._drawing.looping

    @property
    def timings(self) -> Timings:
        """What it has cost so far."""
        return self._drawing.timings


class Drawing:
    """How a generation comes about: the state behind `Generation`, and the user of its session.

    session: where its tokens are evaluated.
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
    ) -> None:
        self.prompt = list(prompt)
        self.tokens: list[int] = []
        self.logprobs: list[TokenLogprob] = []
        self.text = ""
        self.finish_reason: str | None = None
        self.timings = Timings()
        self._source, self._tokenizer = session, tokenizer
        self._sampler = Sampler(sampling, tokenizer, self.prompt)
        self._repetition = Repetition()
        self._guide = guide
        self._n_top_logprobs = n_top_logprobs
        self._max_tokens, self._progress = max_tokens, progress
        self._stop = StopTexts(stop)
        self._cancelled = threading.Event()
        self._session: Session | None = None
        self._at_rest = False

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

    def pieces(self) -> Iterator[str]:
        """Text as it becomes certain, from a session that is claimed meanwhile."""
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
        session = self._claimed
        logits = self._read_prompt()
        began = time.perf_counter()
        while logits is not None and not self._ended():
            for token in self._choose(logits):
                if token in self._tokenizer.eog_ids:
                    self.finish_reason = "stop"
                    return
                if self._guide:
                    self._guide.accept(token)
                self.tokens.append(token)
                session.drawn.append(token)
                self._repetition.accept(token)
                seconds = time.perf_counter() - began
                self.timings = replace(self.timings, n_generated=len(self.tokens), decode_seconds=seconds)
                yield token
                if self._ended():
                    return
            logits = self._evaluate(session.drawn)

    def _choose(self, logits: np.ndarray) -> Sequence[int]:
        """The tokens that the guide forces, or one that is drawn."""
        if self._guide and (forced := self._guide.forced()):
            for token in forced:
                self._sampler.accept(token)
            if self._n_top_logprobs is not None:
                self.logprobs += [TokenLogprob(token, 0.0) for token in forced]
            return forced
        unmasked = logits if self._n_top_logprobs is None else logits.copy()
        if self._guide:
            self._guide.mask(logits)
        token = self._sampler.sample(logits)
        if self._n_top_logprobs is not None:
            self.logprobs.append(token_logprob(unmasked, token, self._n_top_logprobs))
        return [token]

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

    def _evaluate(self, tokens: Sequence[int], progress: Evaluated | None = None) -> np.ndarray | None:
        """The logits after the last token; None when it ends before that.

        It is cancelled, the model is closed, or behind the prompt there is no more memory.
        """
        try:
            return self._claimed.evaluate(tokens, progress, user=self)
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
        seconds = time.perf_counter() - began
        self.timings = Timings(n_cached, len(session.tokens) - n_cached, seconds)
        return logits
