"""Sequences without a model, memory that is only counted, and an engine whose steps cost what a test says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from glmq.errors import ContextFull, OutOfPages
from glmq.scheduling.request import Chunk, Request
from glmq.scheduling.step_queue import Step, StepQueue


@dataclass
class CountedMemory:
    """Positions that sequences may take."""

    n_positions: int = 1 << 30
    used: int = 0


class ScriptedSequence:
    """A sequence that takes counted memory."""

    def __init__(self, memory: CountedMemory | None = None) -> None:
        self.memory = memory or CountedMemory()
        self.tokens: list[int] = []
        self.page_table = np.zeros(0, np.int64)
        self.n_reserved = 0

    def reserve(self, n_tokens: int) -> None:
        wanted = len(self.tokens) + n_tokens
        if wanted > self.memory.n_positions:
            raise ContextFull("more than there is")
        if self.memory.used + wanted - self.n_reserved > self.memory.n_positions:
            raise OutOfPages("others have it")
        self.memory.used += wanted - self.n_reserved
        self.n_reserved = wanted

    def extend(self, tokens: list[int]) -> None:
        self.tokens += tokens
        assert len(self.tokens) <= self.n_reserved

    def release(self) -> None:
        self.memory.used -= self.n_reserved
        self.n_reserved = 0


class NeverRun:
    """For requests that no engine evaluates."""

    def run_step(self, chunks, n_sections, goes_on):
        raise AssertionError("not run")


def request(sequence: ScriptedSequence, n_tokens: int, **options) -> Request:
    """A request for so many tokens, and the logits behind the last."""
    tokens = np.arange(len(sequence.tokens), len(sequence.tokens) + n_tokens)
    return Request(NeverRun(), sequence, tokens, np.zeros((1, 1), np.float32), **options)


@dataclass
class Simulation:
    """Runs a queue against a clock of its own.

    cost: seconds of a step with so many decoding tokens and tokens of prompts. steps: (began, ended, chunks)
    of each that was run.
    """

    cost: Callable[[int, int], float]
    max_tokens: int = 512
    now: float = 0.0
    steps: list[tuple[float, float, list[Chunk]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.queue = StepQueue(self.max_tokens)

    def submit(self, sequence: ScriptedSequence, n_tokens: int, **options) -> Request:
        """Put a request in."""
        submitted = request(sequence, n_tokens, **options)
        self.queue.submit(submitted, self.now)
        return submitted

    def run_one(self) -> Step | None:
        """Run the next step, waiting as long as the queue says; None when it has nothing to do."""
        due = self.queue.next(self.now)
        while isinstance(due, float):
            self.now = max(self.now, due)
            due = self.queue.next(self.now)
        if due is None:
            return None
        began = self.now
        self.now += self.cost(due.n_decode, due.n_prompt)
        self.steps.append((began, self.now, list(due.chunks)))
        for replies, reply in self.queue.finish(due, began, self.now):
            replies.put(reply)
        return due

    def decode(self, sequence: ScriptedSequence, n_tokens: int, draws: float = 0.0) -> list[float]:
        """Decode tokens one by one, each drawn in some seconds; gives when each was there."""
        times = []
        for _ in range(n_tokens):
            self.now += draws
            waiting = self.submit(sequence, 1)
            while waiting.replies.empty():
                assert self.run_one() is not None
            times.append(self.now)
        return times
