"""A run's batch as a table: for each token its id, sequence and position, and which outputs are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from glmq_kernels.arrays import address_of, zeros
from glmq_kernels.ops.attention.plan import AttentionPlanner
from glmq_kernels.ops.batch_part import EVERY_TOKEN, BatchPart
from glmq_kernels.ops.batch_state import (
    LOGIT_OUTPUTS,
    LOGITS,
    N_ATTEND_OUTPUTS,
    N_ATTEND_TOKENS,
    N_LOGITS,
    N_OUTPUTS,
    N_ROW_LOGITS,
    N_ROW_OUTPUTS,
    N_ROW_TOKENS,
    N_TOKENS,
    OUTPUTS,
    PAGE_TABLES,
    POSITIONS,
    TOKENS,
)

from .rotary_angles import AngleTable, Rotary


@dataclass(frozen=True)
class SequencePart:
    """Tokens of one sequence in a run, int64 (n,).

    position: of the first. page_table: of their sequence, int64, with room for all of them. n_outputs: how
    many of them, from the last backwards, have outputs that are wanted. in_rows: whether products take them
    in the row form, else in the panel form. n_logits: how many, from the last backwards, want logits, where
    a run has any; by default all with outputs.
    """

    tokens: np.ndarray
    position: int
    page_table: np.ndarray
    n_outputs: int
    in_rows: bool
    n_logits: int | None = None


class BatchTable:
    """The table of a run's tokens, whose arrays are used again for each run.

    cosines, sines: float32 (max_tokens, pairs), of the tokens in a run.
    """

    def __init__(
        self,
        max_tokens: int,
        planner: AttentionPlanner,
        rotary: Rotary,
        cosines: np.ndarray,
        sines: np.ndarray,
    ) -> None:
        self._planner, self._angles = planner, AngleTable(rotary)
        self._cosines, self._sines = cosines, sines
        self._tokens, self._positions, self._page_tables, self._outputs, self._logit_outputs = (
            zeros(max_tokens, np.int64) for _ in range(5)
        )
        self._in_order = np.arange(max_tokens)

    def places(self, part: BatchPart, state: np.ndarray) -> np.ndarray:
        """Which of a run's tokens an operation works on, int64 (n,)."""
        places = self._in_order if part == EVERY_TOKEN else self._outputs
        return places[: state[part.count_slot]]

    def fill(self, parts: Sequence[SequencePart], logits: np.ndarray, state: np.ndarray) -> None:
        """Write a run of these parts, those of the row form first, into a tape's state.

        logits: float32 (n, n_vocab), to be filled in the order of the parts, or (0, n_vocab).
        """
        n = n_outputs = n_logits = n_rows = n_row_outputs = n_row_logits = 0
        for part in parts:
            last = n + len(part.tokens)
            self._tokens[n:last] = part.tokens
            np.add(self._in_order[: last - n], part.position, out=self._positions[n:last])
            self._page_tables[n:last] = address_of(part.page_table)
            if part.n_outputs:
                first = last - part.n_outputs
                self._outputs[n_outputs : n_outputs + part.n_outputs] = self._in_order[first:last]
                n_outputs += part.n_outputs
            wanted = part.n_outputs if part.n_logits is None else part.n_logits
            if wanted:
                first = n_outputs - wanted
                self._logit_outputs[n_logits : n_logits + wanted] = self._in_order[first:n_outputs]
                n_logits += wanted
            n = last
            if part.in_rows:
                assert n_rows == last - len(part.tokens), "parts of the row form come first"
                n_rows, n_row_outputs, n_row_logits = n, n_outputs, n_logits
        assert logits.flags.c_contiguous and len(logits) in (0, n_logits)
        positions = self._positions[:n]
        self._angles.look_up(positions, self._cosines[:n], self._sines[:n])
        state[N_TOKENS], state[N_ROW_TOKENS] = n, n_rows
        state[TOKENS], state[POSITIONS] = address_of(self._tokens), address_of(self._positions)
        state[PAGE_TABLES] = address_of(self._page_tables)
        state[N_OUTPUTS], state[N_ROW_OUTPUTS] = n_outputs, n_row_outputs
        state[N_LOGITS], state[N_ROW_LOGITS] = len(logits), n_row_logits
        state[OUTPUTS], state[LOGITS] = address_of(self._outputs), address_of(logits)
        state[LOGIT_OUTPUTS] = address_of(self._logit_outputs)
        self._planner.plan(state, positions, self._page_tables[:n])
        state[N_ATTEND_OUTPUTS] = np.searchsorted(self._outputs[:n_outputs], state[N_ATTEND_TOKENS])
