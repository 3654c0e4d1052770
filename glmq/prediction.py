"""Multi-token prediction at work: the layer's rows of the KV cache, and drafts of what comes next.

The row at position p is made of the token there and the trunk's hidden state of the position before:

    tokens   t_0    t_1    t_2  ...  t_p
    hidden   0      h_0    h_1  ...  h_(p-1)     the trunk's, final-normed
    row      0      1      2    ...  p           gives logits of t_(p+1)

Rows of tokens that are decoded wait for each other, or for the next draft, whose first run then writes them
with its own: so the weights that make them are read once for all.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from glmq_kernels.arrays import copy_of, zeros
from glmq_kernels.gemm.sizes import ROW_TOKENS
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE
from glmq_kernels.threads.thread_pool import ThreadPool

from .batch import SequencePart
from .draft_head import DraftHead
from .errors import ContextFull, OutOfPages
from .kv_cache.hidden_states import HiddenStates
from .program import Program
from .scheduling.request import PagedSequence
from .tape_sections import DRAFT_HEAD, HEAD, STORE

KEPT_STATES = 64
"""Hidden states of the last tokens of a run that stay with a sequence, for when it is rewound: of a draft."""

MOST_BEHIND = ROW_TOKENS
"""Tokens of a sequence whose rows the first run of a draft writes with its own."""

WAITING_BYTES = 128 << 10
"""Hidden states of a sequence that wait where more than those fit: a run that writes rows costs a small model
as much as a good part of a token, and seldom is better than often where nothing is drafted."""

RECENT = 4096
"""So many tokens at the end of a text that others have read, or a file held, are likely in its answer."""


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

    def part(self, place: int, guesses: Sequence[Predicted], n_behind: int) -> SequencePart:
        """One of these tokens for a run, with the sequence's last ones, so many, before the first."""
        n = len(self.tokens)
        token = self.tokens[place] if place < n else guesses[place - n].token
        position = len(self.sequence.tokens) + place
        tokens = copy_of([*self.sequence.tokens[position - n_behind :], token], np.int64)
        return SequencePart(tokens, position - n_behind, self.sequence.page_table, 1, in_rows=True)


class Predicted(NamedTuple):
    """The likeliest token, with its probability by softmax."""

    token: int
    probability: float


class Prediction:
    """The layer of multi-token prediction of a model. program: of the layer, as the trunk's has it."""

    def __init__(self, program: Program) -> None:
        self._program, (self._layer,) = program, program.layers
        self._inputs = program.hidden_inputs
        self._unknown = np.zeros((1, self._inputs.shape[1]), np.float32)
        self._most_waiting = max(MOST_BEHIND, WAITING_BYTES // self._unknown.nbytes)
        self._no_logits = zeros((0, program.n_vocab), np.float32)
        self._head = program.draft_head
        self._known: weakref.WeakSet[PagedSequence] = weakref.WeakSet()  # whose texts the head has taken
        if self._head is not None:
            self._head.take_first()

    @property
    def most_drafts(self) -> int:
        """That are made side by side."""
        return max(1, self._program.tape.max_tokens // (MOST_BEHIND + 1))

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
        written: list[SequencePart] = []
        befores: list[np.ndarray] = []
        first = 0
        for sequence, part in zip(sequences, parts, strict=True):
            last = first + len(part.tokens)
            known = self._states(sequence, part.position)
            begin, end = part.position - known.n_behind, part.position + len(part.tokens)
            # A page that is filled has all its rows, as others may then read it.
            is_in_page = begin // POSITIONS_PER_PAGE == end // POSITIONS_PER_PAGE
            if part.in_rows and end - begin <= self._most_waiting and is_in_page:
                sequence.hidden = known.followed_by(hidden[first:last])
            else:
                tokens = copy_of([*sequence.tokens[begin : part.position], *part.tokens], np.int64)
                written.append(replace(part, tokens=tokens, position=begin))
                befores += [known.rows[-known.n_behind - 1 :], hidden[first : last - 1]]
                kept = hidden[max(first, last - KEPT_STATES) : last].copy()
                sequence.hidden = HiddenStates(end - len(kept), kept)
            first = last
        if written:
            self.store(thread_pool, written, np.vstack(befores))
        if self._head is not None:
            for part in parts:
                is_decoded = part.in_rows and len(part.tokens) <= ROW_TOKENS
                self._head.take(part.tokens, of_answer=is_decoded)

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

        Guesses are the likeliest of the tokens that the layer's head for drafts has, where it pays, and as
        probable as they are among these. A draft ends early where `goes_on` or `wants_more` says no. The
        sequences have room for all tokens and all guesses but the last.
        """
        if self._head is not None:
            self._take_texts(self._head, [each.sequence for each in wanted])
        head = self._head if self._head is not None and self._head.pays else None
        section = HEAD if head is None else DRAFT_HEAD
        n_tokens = self._program.n_vocab if head is None else len(head.tokens)
        self.catch_up(thread_pool, [each.sequence for each in wanted if each.n_steps > 0], MOST_BEHIND)
        known = [self._states(each.sequence, len(each.sequence.tokens)) for each in wanted]
        before = [each.rows[-each.n_behind - 1 :] for each in known]
        guesses: list[list[Predicted]] = [[] for _ in wanted]
        under_way, n_done = list(range(len(wanted))), 0
        while True:
            under_way = [i for i in under_way if n_done < wanted[i].n_steps and wanted[i].goes_on()]
            if not under_way:
                return guesses
            parts = [wanted[i].part(n_done, guesses[i], len(before[i]) - 1) for i in under_way]
            logits = zeros((len(parts), n_tokens), np.float32)
            hidden = np.vstack([before[i] for i in under_way])
            found = self._predict(thread_pool, parts, hidden, logits, section).copy()
            for i, state, row in zip([*under_way], found, logits, strict=True):
                sequence, before[i] = wanted[i].sequence, state[None]
                if not n_done and sequence.hidden is not None:
                    sequence.hidden = sequence.hidden.before(len(sequence.tokens)).caught_up()
                if n_done >= len(wanted[i].tokens) - 1:
                    guess = likeliest(row)
                    if head is not None:
                        guess = guess._replace(token=int(head.tokens[guess.token]))
                    guesses[i].append(guess)
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
        return self._predict(thread_pool, parts, hidden, logits, HEAD)

    def _predict(
        self,
        thread_pool: ThreadPool,
        parts: Sequence[SequencePart],
        hidden: np.ndarray,
        logits: np.ndarray,
        head: str,
    ) -> np.ndarray:
        """The same with a section of the tape that is a head."""
        tape = self._program.tape
        self._inputs[: len(hidden)] = hidden
        self._program.set_batch(parts, logits)
        tape.run(thread_pool, None, STORE)
        tape.run(thread_pool, self._layer, HEAD)
        tape.run_section(thread_pool, head)
        return self._program.hidden[: len(logits)]

    def _take_texts(self, head: DraftHead, sequences: Sequence[PagedSequence]) -> None:
        """Take note of what sequences hold that the layer did not see them read."""
        for sequence in sequences:
            if sequence not in self._known:
                self._known.add(sequence)
                head.take(np.array(sequence.tokens[-RECENT:], np.int64))

    def catch_up(
        self, thread_pool: ThreadPool, sequences: Sequence[PagedSequence], most_behind: int = 0
    ) -> None:
        """Write the rows that wait of sequences with more of them than may.

        The sequences have room for more tokens, so that nobody else reads the page.
        """
        for sequence in sequences:
            n = len(sequence.tokens)
            known = self._states(sequence, n)
            if known.n_behind > most_behind:
                begin = n - known.n_behind
                tokens = copy_of(sequence.tokens[begin:], np.int64)
                part = SequencePart(tokens, begin, sequence.page_table, 0, in_rows=True)
                self.store(thread_pool, [part], known.rows[-known.n_behind - 1 : -1])
                sequence.hidden = known.caught_up()

    def _states(self, sequence: PagedSequence, position: int) -> HiddenStates:
        """The trunk's hidden states of a sequence up to a position, the last before it among them.

        Zeros of that one before the first position, and where it is not known.
        """
        states = sequence.hidden
        if states is not None and states.end != position:
            states = states.before(position)
        if states is None or states.end != position or not len(states.rows):
            return HiddenStates(position - 1, self._unknown)
        return states


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
