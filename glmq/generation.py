"""A generation: tokens drawn one after another until something ends it, as text that streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from glmq_kernels.errors import UserError

from .guide import Guide
from .sampling import Sampler, Sampling
from .session import Evaluated, Session
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

    tokens: those drawn or forced, without the one that ended it. text: all pieces so far. finish_reason:
    None while it runs, then "stop" (the model or the guide ended it, or a stop string came), "length"
    (max_tokens), "context" (no room left) or "cancelled".
    """

    def __init__(
        self,
        session: Session,
        tokenizer: Tokenizer,
        prompt: Sequence[int],
        sampling: Sampling,
        max_tokens: int | None,
        stop: Sequence[str],
        progress: Evaluated | None,
        guide: Guide | None = None,
    ) -> None:
        self.prompt = list(prompt)
        self.tokens: list[int] = []
        self.text = ""
        self.finish_reason: str | None = None
        self.timings = Timings()
        self._session, self._tokenizer = session, tokenizer
        self._sampler = Sampler(sampling, tokenizer, self.prompt)
        self._guide = guide
        self._max_tokens, self._progress = max_tokens, progress
        self._stop = [text for text in stop if text]
        self._cancelled = threading.Event()
        self._pieces = self._run()

    def __iter__(self) -> Iterator[str]:
        return self._pieces

    def run(self) -> str:
        """Generate to the end; gives the whole text."""
        for _ in self:
            pass
        return self.text

    def cancel(self) -> None:
        """End it at the next token; may be called from any thread."""
        self._cancelled.set()

    def _run(self) -> Iterator[str]:
        """Text as it becomes certain: whole characters that cannot begin a stop string any more."""
        held = ""
        stream = self._tokenizer.stream()
        try:
            for token in self._draw():
                held, piece = self._release(held + stream.push(token))
                if piece:
                    yield self._emit(piece)
                if self.finish_reason:
                    return
            held, piece = self._release(held + stream.flush())
            if piece or held:
                yield self._emit(piece + held)
        finally:
            self.finish_reason = self.finish_reason or "cancelled"

    def _emit(self, piece: str) -> str:
        self.text += piece
        return piece

    def _release(self, text: str) -> tuple[str, str]:
        """Text that may begin a stop string and is held back, and text that may go out."""
        found = [at for at in (text.find(stop) for stop in self._stop) if at >= 0]
        if found:
            self.finish_reason = "stop"
            return "", text[: min(found)]
        n_held = max((_overlap(text, stop) for stop in self._stop), default=0)
        return text[len(text) - n_held :], text[: len(text) - n_held]

    def _draw(self) -> Iterator[int]:
        """Tokens until the model, the guide, a limit or the caller ends it."""
        logits = self._read_prompt()
        began = time.perf_counter()
        while not self._ended():
            for token in self._choose(logits):
                if token in self._tokenizer.eog_ids:
                    self.finish_reason = "stop"
                    return
                if self._guide:
                    self._guide.accept(token)
                self.tokens.append(token)
                self._session.drawn.append(token)
                seconds = time.perf_counter() - began
                self.timings = replace(self.timings, n_generated=len(self.tokens), decode_seconds=seconds)
                yield token
                if self._ended():
                    return
            logits = self._session.evaluate(self._session.drawn)

    def _choose(self, logits: np.ndarray) -> Sequence[int]:
        """The tokens that the guide forces, or one that is drawn."""
        if self._guide:
            if forced := self._guide.forced():
                for token in forced:
                    self._sampler.accept(token)
                return forced
            self._guide.mask(logits)
        return [self._sampler.sample(logits)]

    def _ended(self) -> bool:
        """Whether no token may follow; finish_reason then says why."""
        session = self._session
        if self._guide and self._guide.finished:
            self.finish_reason = "stop"
        elif self._cancelled.is_set():
            self.finish_reason = "cancelled"
        elif self._max_tokens is not None and len(self.tokens) >= self._max_tokens:
            self.finish_reason = "length"
        elif len(session.tokens) + len(session.drawn) > session.n_ctx:
            self.finish_reason = "context"
        return self.finish_reason is not None

    def _read_prompt(self) -> np.ndarray:
        """Evaluate what of the prompt the session does not hold yet; gives the logits after it."""
        if not self.prompt:
            raise UserError("the prompt is empty; give the model something to continue")
        self._session.require_room(len(self.prompt))
        n_cached = min(common_prefix(self._session.tokens, self.prompt), len(self.prompt) - 1)
        self._session.rewind(n_cached)
        began = time.perf_counter()
        logits = self._session.evaluate(self.prompt[n_cached:], self._progress)
        seconds = time.perf_counter() - began
        self.timings = Timings(n_cached, len(self.prompt) - n_cached, seconds)
        return logits


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """How many leading tokens two sequences share."""
    n = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        n += 1
    return n


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of `text` that begins `stop`."""
    for n in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:n]):
            return n
    return 0
