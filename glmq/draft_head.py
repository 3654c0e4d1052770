"""A head for drafts: the rows of those tokens that are likely to come, side by side in memory of its own.

A draft is only a guess, so it need not choose among a vocabulary of 150,000 tokens, the product with whose
rows takes longer than the layer that guesses. Likely is what has come lately, in prompts and in answers, and
before that what is frequent in all texts:

    head    0 1 2 .. | .. .. ..  n - 1       rows of all tokens, where they lie
    rows    0 1 2 .. | n - LAST .. n - 1 | later in the places of the first two: what texts hold

As in FR-Spec (Zhao et al. 2025, arXiv 2502.14856), which ranks tokens by their frequency in a corpus. Here
that is read from the vocabulary: byte-pair encodings number tokens in the order of their merges, and tags
come last. Where a vocabulary has another order the texts mend that.
"""

from __future__ import annotations

import ctypes
import math

import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros
from glmq_kernels.ops.operands import Matrix

LAST = 512
"""The last tokens of a vocabulary, among which tags are, that are there from the beginning."""

LEAST_ROWS, MOST_ROWS = 8192, 32768
"""Of such a head."""

STEP = 1024
"""Its rows are a multiple of this."""

LEAST_VOCABULARY = 3
"""A head of fewer times its rows is used as it is."""

MISSED, MISSED_OF = 0.04, 16384
"""So many of a text's tokens have no row in a head of so many, of twice as many half (docs/numbers.md)."""

LOST = 0.46
"""What a guess that misses costs, of a step's worth: where 0.85 come true a step gives 1.85 tokens."""

MEMORY = 256
"""Of so many tokens of answers it is counted how many are missed."""


def draft_rows(n_vocab: int, row_bytes: int, step_bytes: int) -> int | None:
    """How many rows such a head has where it makes drafts most worth; None where it has all.

    step_bytes: of the weights that a step with a draft reads, all but the head for drafts. What the rows cost
    and what is missed, row_bytes / step_bytes rows + LOST MISSED MISSED_OF / rows, is then least.
    """
    best = math.sqrt(LOST * MISSED * MISSED_OF * step_bytes / row_bytes)
    rows = min(max(LEAST_ROWS, STEP * round(best / STEP)), MOST_ROWS)
    return rows if n_vocab >= LEAST_VOCABULARY * rows else None


class LikelyTokens:
    """Which tokens have rows, and where. Used by one thread at a time.

    n_vocab: tokens of the vocabulary. tokens: those with rows, in the order of these, int64 (n,). missed: the
    share of answers' tokens that had none when they came.
    """

    def __init__(self, n_vocab: int, n: int) -> None:
        n_last = min(LAST, n // 2)
        self.tokens = np.concatenate((np.arange(n - n_last), np.arange(n_vocab - n_last, n_vocab)))
        self._places = np.full(n_vocab, -1, np.int64)
        self._places[self.tokens] = np.arange(n)
        self._last_taken = -np.arange(n)  # by the clock: the last of the frequent ones go first
        self._last_taken[n - n_last :] = 0
        self._clock = 0
        self.missed = MISSED

    def __contains__(self, token: int) -> bool:
        return bool(self._places[token] >= 0)

    def take(self, tokens: np.ndarray, *, of_answer: bool = False) -> np.ndarray:
        """Take note that tokens of a text have come, int64 (n,). They then have rows.

        They get those of the tokens that did not come for longest, unless they are more than there are rows.
        Gives the places of rows that are another token's now, int64 (m,). of_answer: they count for `missed`.
        """
        self._clock += 1
        places = self._places[tokens]
        if of_answer and len(tokens):
            kept = (1 - 1 / MEMORY) ** len(tokens)
            self.missed = kept * self.missed + (1 - kept) * float((places < 0).mean())
        self._last_taken[places[places >= 0]] = self._clock
        new = np.unique(tokens[places < 0])[: len(self.tokens)]
        if not len(new):
            return new
        oldest = np.argpartition(self._last_taken, len(new) - 1)[: len(new)]
        self._places[self.tokens[oldest]] = -1
        self._places[new], self.tokens[oldest] = oldest, new
        self._last_taken[oldest] = self._clock
        return oldest


class DraftHead:
    """Rows of a head for likely tokens. Used by one thread at a time.

    head: of the whole vocabulary. step_bytes: as of `draft_rows`. matrix: the rows (n, columns), zeros until
    `take_first`.
    """

    def __init__(self, head: Matrix, n: int, step_bytes: int) -> None:
        self._head, self._likely = head, LikelyTokens(head.rows, n)
        self._saved = (head.rows - n) * head.row_bytes / (step_bytes + n * head.row_bytes)
        self._rows = aligned_zeros(n * head.row_bytes)
        self.matrix = Matrix(address_of(self._rows), n, head.columns, head.type, self._rows)

    @property
    def tokens(self) -> np.ndarray:
        """Of each row, int64 (n,)."""
        return self._likely.tokens

    def take_first(self) -> None:
        """Copy the rows of the tokens that are likely from the beginning."""
        self._copy(np.arange(len(self.tokens)))

    @property
    def pays(self) -> bool:
        """Whether it saves more than what its missed tokens cost; else all rows are worth their time."""
        return self._likely.missed * LOST < self._saved

    def take(self, tokens: np.ndarray, *, of_answer: bool = False) -> None:
        """Take note that tokens of a text have come, int64 (n,), as `LikelyTokens.take`."""
        changed = self._likely.take(tokens, of_answer=of_answer)
        if len(changed):
            self._copy(changed)

    def _copy(self, places: np.ndarray) -> None:
        n_bytes = self._head.row_bytes
        head = (ctypes.c_uint8 * self._head.n_bytes).from_address(self._head.address)
        rows = np.ctypeslib.as_array(head).reshape(-1, n_bytes)
        self._rows.reshape(-1, n_bytes)[places] = rows[self.tokens[places]]
