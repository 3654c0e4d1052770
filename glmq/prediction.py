"""Multi-token prediction at work: the layer's rows of the KV cache, and drafts of what comes next.

The row at position p is made of the token there and the trunk's hidden state of the position before:

    tokens   t_0    t_1    t_2  ...  t_p
    hidden   0      h_0    h_1  ...  h_(p-1)     the trunk's, final-normed
    row      0      1      2    ...  p           gives logits of t_(p+1)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from glmq_kernels.arrays import zeros
from glmq_kernels.threads.thread_pool import ThreadPool

from .batch import SequencePart
from .errors import ContextFull, OutOfPages
from .kv_cache.hidden_states import HiddenStates
from .program import Program
from .scheduling.request import PagedSequence
from .tape_sections import STORE

KEPT_STATES = 64
"""Hidden states of the last tokens of a run that stay with a sequence, for when it is rewound: of a draft."""


@dataclass(frozen=True)
class WantedDraft:
    """Up to `n_most` guesses of what follows `tokens`, which follow a sequence's and are not evaluated yet.

    goes_on: asked before each token. wants_more: asked behind each guess, with all of them.
    """

    sequence: PagedSequence
    tokens: Sequence[int]
    n_most: int
    goes_on: Callable[[], bool] = lambda: True
    wants_more: Callable[[Sequence[Predicted]], bool] = lambda guesses: True

    @property
    def n_steps(self) -> int:
        """Tokens that the layer takes one after the other."""
        return len(self.tokens) + self.n_most - 1

    def with_room(self) -> WantedDraft:
        """The same with room for keys and values: perhaps only one guess, or none."""
        for n_most in dict.fromkeys((self.n_most, 1)):
            try:
                self.sequence.reserve(len(self.tokens) + n_most - 1)
            except (OutOfPages, ContextFull):
                continue
            return replace(self, n_most=n_most)
        return replace(self, tokens=(), n_most=0)

    def part(self, place: int, guesses: Sequence[Predicted]) -> SequencePart:
        """One of these tokens for a run."""
        n = len(self.tokens)
        token = self.tokens[place] if place < n else guesses[place - n].token
        position = len(self.sequence.tokens) + place
        return SequencePart(np.array([token], np.int64), position, self.sequence.page_table, 1, in_rows=True)


class Predicted(NamedTuple):
    """The likeliest token, with its probability by softmax."""

    token: int
    probability: float


class Prediction:
    """The layer of multi-token prediction of a model. program: of the layer, as the trunk's has it."""

    def __init__(self, program: Program) -> None:
        self._program, (self._layer,) = program, program.layers
        self._inputs = program.hidden_inputs
        self._unknown = np.zeros(self._inputs.shape[1], np.float32)
        self._no_logits = zeros((0, program.n_vocab), np.float32)

    @property
    def max_tokens(self) -> int:
        """Of a run."""
        return self._program.tape.max_tokens

    def follow(
        self,
        thread_pool: ThreadPool,
        sequences: Sequence[PagedSequence],
        parts: Sequence[SequencePart],
        hidden: np.ndarray,
    ) -> None:
        """Write the rows of what the trunk has evaluated, and keep its last hidden states with the sequences.

        sequences: of each part. hidden: float32 (n_tokens, hidden size), the trunk's.
        """
        before = np.empty_like(hidden)
        first = 0
        for sequence, part in zip(sequences, parts, strict=True):
            last, kept = first + len(part.tokens), min(len(part.tokens), KEPT_STATES)
            before[first] = self._state_of(sequence, part.position - 1)
            before[first + 1 : last] = hidden[first : last - 1]
            sequence.hidden = HiddenStates(
                part.position + len(part.tokens) - kept, hidden[last - kept : last].copy()
            )
            first = last
        self.store(thread_pool, parts, before)

    def store(self, thread_pool: ThreadPool, parts: Sequence[SequencePart], hidden: np.ndarray) -> None:
        """Write the rows of tokens of any number of sequences to their pages.

        parts: those of the row form first. hidden: float32 (n, hidden size), for each token that of the
        position before.
        """
        tape, first = self._program.tape, 0
        for run in _runs(parts, tape.max_tokens):
            n = sum(len(part.tokens) for part in run)
            self._inputs[:n] = hidden[first : first + n]
            self._program.set_batch(run, self._no_logits)
            tape.run(thread_pool, None, self._layer)
            first += n

    def draft(self, thread_pool: ThreadPool, wanted: Sequence[WantedDraft]) -> list[list[Predicted]]:
        """Guess what follows the tokens of each, all side by side, one token after the other.

        A draft ends early where `goes_on` or `wants_more` says no. The sequences have room for all tokens and
        all guesses but the last.
        """
        states = [self._state_of(each.sequence, len(each.sequence.tokens) - 1) for each in wanted]
        guesses: list[list[Predicted]] = [[] for _ in wanted]
        under_way, n_done = list(range(len(wanted))), 0
        while True:
            under_way = [i for i in under_way if n_done < wanted[i].n_steps and wanted[i].goes_on()]
            if not under_way:
                return guesses
            parts = [wanted[i].part(n_done, guesses[i]) for i in under_way]
            logits = zeros((len(parts), self._program.n_vocab), np.float32)
            before = np.stack([states[i] for i in under_way])
            found = self.predict(thread_pool, parts, before, logits).copy()
            for i, state, row in zip([*under_way], found, logits, strict=True):
                states[i] = state
                if n_done >= len(wanted[i].tokens) - 1:
                    guesses[i].append(likeliest(row))
                    if not wanted[i].wants_more(guesses[i]):
                        under_way.remove(i)
            n_done += 1

    def predict(
        self,
        thread_pool: ThreadPool,
        parts: Sequence[SequencePart],
        hidden: np.ndarray,
        logits: np.ndarray,
    ) -> np.ndarray:
        """Write the rows of some tokens, a run's at most, and predict what follows those with outputs.

        hidden: as of `store`. logits: float32 (n_outputs, n_vocab), of the tokens that follow. Gives float32
        (n_outputs, hidden size), what takes the place of the trunk's hidden states of these positions; until
        the next run.
        """
        tape = self._program.tape
        self._inputs[: len(hidden)] = hidden
        self._program.set_batch(parts, logits)
        tape.run(thread_pool, None, STORE)
        tape.run(thread_pool, self._layer)
        return self._program.hidden[: len(logits)]

    def _state_of(self, sequence: PagedSequence, position: int) -> np.ndarray:
        """The trunk's hidden state at a position; zeros before the first, and where it is not known."""
        known = sequence.hidden.at(position) if sequence.hidden is not None else None
        return self._unknown if known is None else known


def likeliest(logits: np.ndarray) -> Predicted:
    """Of logits, float32 (n_vocab,)."""
    token = int(logits.argmax())
    return Predicted(token, float(1 / np.exp(logits - logits[token]).sum()))


def _runs(parts: Sequence[SequencePart], max_tokens: int) -> list[list[SequencePart]]:
    """The parts cut into runs of up to `max_tokens`, without outputs."""
    runs: list[list[SequencePart]] = [[]]
    room = max_tokens
    for part in parts:
        first = 0
        while first < len(part.tokens):
            if not room:
                runs.append([])
                room = max_tokens
            n = min(room, len(part.tokens) - first)
            runs[-1].append(
                replace(
                    part,
                    tokens=part.tokens[first : first + n],
                    position=part.position + first,
                    n_outputs=0,
                    n_logits=0,
                )
            )
            first, room = first + n, room - n
    return runs
