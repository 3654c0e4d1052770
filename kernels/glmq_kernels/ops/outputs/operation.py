"""Going on for the rows only whose outputs, or logits, are wanted."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Tape
from ..batch_state import LOGIT_OUTPUTS, N_LOGITS, N_OUTPUTS, N_ROW_LOGITS, N_ROW_OUTPUTS, OUTPUTS
from ..operands import Activation
from .arguments import Gather


def gather_outputs(
    tape: Tape,
    source: np.ndarray,
    columns: int,
    out: np.ndarray | Activation,
    *,
    first_slot: int = -1,
    last_slot: int = N_OUTPUTS,
    barrier: bool = True,
) -> None:
    """out (n_outputs, columns) = rows of source (n_tokens, columns), by output; prepared where it can be.

    first_slot, last_slot: entries of the state with the first output and the one behind the last, by default
    all outputs.
    """
    rows, prepared = (out.rows, out.address) if isinstance(out, Activation) else (out, 0)
    tape.add(
        "ops.outputs.kernel.gather",
        Gather,
        table_slot=OUTPUTS,
        first_slot=first_slot,
        last_slot=last_slot,
        row_form_slot=N_ROW_OUTPUTS,
        source=address_of(source),
        out=address_of(rows),
        columns=columns,
        prepared=prepared,
        barrier=barrier,
    )


def gather_logit_rows(tape: Tape, source: Activation, out: Activation) -> None:
    """out (n_logits, columns) = those rows of source (n_outputs, columns) that want logits, prepared."""
    tape.add(
        "ops.outputs.kernel.gather",
        Gather,
        table_slot=LOGIT_OUTPUTS,
        first_slot=-1,
        last_slot=N_LOGITS,
        row_form_slot=N_ROW_LOGITS,
        source=address_of(source.rows),
        out=address_of(out.rows),
        columns=source.columns,
        prepared=out.address,
    )
