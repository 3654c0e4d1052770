"""A request: tokens that one sequence is to be extended by, and what is wanted of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Generic, Protocol, TypeVar

import numpy as np
from glmq_kernels.gemm.sizes import ROW_TOKENS

from ..errors import ContextFull, OutOfPages
from ..kv_cache.hidden_states import HiddenStates

W = TypeVar("W")
R = TypeVar("R")


class PagedSequence(Protocol):
    """What the scheduler needs of a sequence."""

    @property
    def tokens(self) -> list[int]:
        """Those evaluated so far."""

    @property
    def page_table(self) -> np.ndarray:
        """Addresses of its pages, int64."""

    @property
    def hidden(self) -> HiddenStates | None:
        """The hidden states of the last tokens that a run of the trunk has kept."""

    @hidden.setter
    def hidden(self, states: HiddenStates | None) -> None: ...

    def reserve(self, n_tokens: int) -> None:
        """Make room for so many tokens more, all of it or nothing.

        Raises OutOfPages when others have the pages, ContextFull when there cannot be room at all.
        """

    def extend(self, tokens: list[int]) -> None:
        """Take note that tokens have been evaluated in the room behind the others."""


class Runner(Protocol):
    """What evaluates a step: an engine."""

    def run_step(self, chunks: Sequence[Chunk], n_sections: int | None, goes_on: Callable[[], bool]) -> bool:
        """Evaluate chunks of several sequences, those of the row form first, in sections of layers.

        n_sections: None for one for each layer. goes_on: asked between them; when it says no the step is
        given up, and this gives False.
        """


class Cancelled(Exception):
    """Who asked for it does not want it any more."""


@dataclass(frozen=True)
class Progress:
    """The answer to a caller who wants to know how far it is: the request goes on when it is put in again."""

    n_done: int


Reply = Progress | BaseException | None
"""What a caller is told: how far it is, why it ended early, or None when all of it is done."""


@dataclass(frozen=True, slots=True)
class Beside:
    """Tokens of other sequences in a run: how many, and by how many these sequences will probably grow.

    That is less where some of them are guesses.
    """

    n_tokens: int = 0
    progress: float = 0.0


ALONE = Beside()


@dataclass(eq=False)
class Request:
    """Tokens for a sequence, int64 (n,), to be evaluated by a runner.

    logits: float32 (m, n_vocab), filled for the last m of the tokens. is_cancelled: asked before each step
    and inside long ones. hands_back: whether the caller wants it back after each step, with its progress.
    n_draft: how many of the tokens, the last, are a draft: they are evaluated too, but the sequence does not
    grow by them, and they are left out where there is no memory for them. Only of requests that decode.
    promised: how many of these will probably be drawn.
    n_done: tokens evaluated so far. admitted: whether its sequence has the memory for all of them. withdrawn:
    whether its caller is gone. beside: what else decoded in its last step. replies: what the caller waits
    for.
    """

    runner: Runner
    sequence: PagedSequence
    tokens: np.ndarray
    logits: np.ndarray
    is_cancelled: Callable[[], bool] = lambda: False
    hands_back: bool = False
    n_draft: int = 0
    promised: float = 0.0
    n_done: int = 0
    admitted: bool = False
    withdrawn: bool = False
    beside: Beside = ALONE
    replies: SimpleQueue[Reply] = field(default_factory=SimpleQueue)

    @property
    def n_left(self) -> int:
        """Tokens that are not evaluated yet."""
        return len(self.tokens) - self.n_done

    @property
    def decodes(self) -> bool:
        """Whether it is so short that it goes before prompts, as a whole: tokens that are drawn, or a draft.

        Each of its tokens takes the row form of products: the same bits, whatever stands beside it.
        """
        return len(self.tokens) <= ROW_TOKENS

    def reserve(self) -> None:
        """Take memory for the tokens, without the draft where there is too little.

        Raises what the sequence's `reserve` does.
        """
        try:
            self.sequence.reserve(len(self.tokens))
        except (ContextFull, OutOfPages):
            if not self.n_draft:
                raise
            self.tokens, self.logits = self.tokens[: -self.n_draft], self.logits[: -self.n_draft]
            self.n_draft, self.promised = 0, 0.0
            self.sequence.reserve(len(self.tokens))

    @property
    def ended(self) -> bool:
        """Whether nobody wants it any more."""
        return self.withdrawn or self.is_cancelled()


@dataclass(eq=False)
class Call(Generic[W, R]):
    """Something about a sequence that uses what steps use, and so is done between two of them.

    wanted: what. run: does it, of all calls together that wait for the same; gives the result of each. The
    others are as of `Request`.
    """

    sequence: PagedSequence
    wanted: W
    run: Callable[[Sequence[W]], Sequence[R]]
    is_cancelled: Callable[[], bool] = lambda: False
    withdrawn: bool = False
    results: list[R] = field(default_factory=list)
    replies: SimpleQueue[Reply] = field(default_factory=SimpleQueue)

    @property
    def ended(self) -> bool:
        """Whether nobody wants it any more."""
        return self.withdrawn or self.is_cancelled()


@dataclass(frozen=True)
class Chunk:
    """The next tokens of a request that are evaluated in one step.

    in_rows: whether they take the row form of products, else panels.
    """

    request: Request
    n_tokens: int
    in_rows: bool

    @property
    def tokens(self) -> np.ndarray:
        """The token ids, int64 (n_tokens,)."""
        first = self.request.n_done
        return self.request.tokens[first : first + self.n_tokens]

    @property
    def logits(self) -> np.ndarray:
        """What of the request's logits these tokens fill, float32 (m, n_vocab); m of their last."""
        request = self.request
        first_wanted = len(request.tokens) - len(request.logits)
        first = max(0, request.n_done - first_wanted)
        last = max(0, request.n_done + self.n_tokens - first_wanted)
        return request.logits[first:last]
