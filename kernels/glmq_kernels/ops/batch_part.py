"""Which rows of a run an operation works on, and how many of them take the row form of products."""

from __future__ import annotations

from dataclasses import dataclass

from .batch_state import (
    N_ATTEND_OUTPUTS,
    N_ATTEND_TOKENS,
    N_LOGITS,
    N_OUTPUTS,
    N_ROW_LOGITS,
    N_ROW_OUTPUTS,
    N_ROW_TOKENS,
    N_TOKENS,
)


@dataclass(frozen=True)
class BatchPart:
    """Slots of the tape's state: of how many rows there are, and of how many come first in the row form."""

    count_slot: int
    row_form_slot: int


EVERY_TOKEN = BatchPart(N_TOKENS, N_ROW_TOKENS)
OUTPUTS_ONLY = BatchPart(N_OUTPUTS, N_ROW_OUTPUTS)
LOGITS_ONLY = BatchPart(N_LOGITS, N_ROW_LOGITS)
ABSORBED = BatchPart(N_ATTEND_TOKENS, N_ROW_TOKENS)
ABSORBED_OUTPUTS = BatchPart(N_ATTEND_OUTPUTS, N_ROW_OUTPUTS)
