"""Multi-token prediction at work: the layer's rows of the KV cache, and drafts of what comes next.

The row at position p is made of the token there and the trunk's hidden state of the position before:

    tokens   t_0    t_1    t_2  ...  t_p
    hidden   0      h_0    h_1  ...  h_(p-1)     the trunk's, final-normed
    row      0      1      2    ...  p           gives logits of t_(p+1)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from glmq_kernels.arrays import zeros
from glmq_kernels.threads.thread_pool import ThreadPool

from .batch import SequencePart
from .kv_cache.hidden_states import HiddenStates
from .program import Program
from .scheduling.request import PagedSequence
from .tape_sections import STORE

KEPT_STATES = 64
"""Hidden states of the last tokens of a run that stay with a sequence, for when it is rewound: of a draft."""


class Prediction:
    """The layer of multi-token prediction of a model. program: of the layer, as the trunk's has it."""

    def __init__(self, program: Program) -> None:
        self._program, (self._layer,) = program, program.layers
        self._inputs = program.hidden_inputs
        self._unknown = np.zeros(self._inputs.shape[1], np.float32)
        self._logits, self._no_logits = (zeros((n, program.n_vocab), np.float32) for n in (1, 0))

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

    def draft(
        self,
        thread_pool: ThreadPool,
        sequence: PagedSequence,
        tokens: Sequence[int],
        n_most: int,
        least_probability: float = 0.0,
        goes_on: Callable[[], bool] = lambda: True,
    ) -> list[int]:
        """Guess what follows `tokens`, which follow those of a sequence and are not evaluated yet.

        The sequence has room for all of them and all guesses but the last. Ends early where a guess is less
        probable than that, and where `goes_on`, asked before each, says no.
        """
        n_before = len(sequence.tokens)
        state, drafted = self._state_of(sequence, n_before - 1), list[int]()
        given = [*tokens]
        for position in range(n_before, n_before + len(given) + n_most - 1):
            if not goes_on():
                break
            token = given[position - n_before] if position - n_before < len(given) else drafted[-1]
            part = SequencePart(np.array([token], np.int64), position, sequence.page_table, 1, in_rows=True)
            state = self.predict(thread_pool, part, state[None], self._logits)[0].copy()
            if position - n_before < len(given) - 1:
                continue
            likeliest = int(self._logits[0].argmax())
            if least_probability and _probability(self._logits[0], likeliest) < least_probability:
                break
            drafted.append(likeliest)
        return drafted

    def predict(
        self, thread_pool: ThreadPool, part: SequencePart, hidden: np.ndarray, logits: np.ndarray
    ) -> np.ndarray:
        """Write the rows of some tokens, and predict what follows those of them with outputs.

        hidden: as of `store`. logits: float32 (n_outputs, n_vocab), of the tokens that follow. Gives float32
        (n_outputs, hidden size), what takes the place of the trunk's hidden states of these positions; until
        the next run.
        """
        tape = self._program.tape
        self._inputs[: len(part.tokens)] = hidden
        self._program.set_batch([part], logits)
        tape.run(thread_pool, None, STORE)
        tape.run(thread_pool, self._layer)
        return self._program.hidden[: part.n_outputs]

    def _state_of(self, sequence: PagedSequence, position: int) -> np.ndarray:
        """The trunk's hidden state at a position; zeros before the first, and where it is not known."""
        known = sequence.hidden.at(position) if sequence.hidden is not None else None
        return self._unknown if known is None else known


def _probability(logits: np.ndarray, token: int) -> float:
    """Of a token, by softmax."""
    return float(1 / np.exp(logits - logits[token]).sum())


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
