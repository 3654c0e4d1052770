"""Going on for the tokens only whose outputs are wanted."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Tape
from ..batch_state import N_OUTPUTS
from ..operands import Activation
from .arguments import GatherOutputs


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
        "ops.outputs.kernel.gather_outputs",
        GatherOutputs,
        first_slot=first_slot,
        last_slot=last_slot,
        source=address_of(source),
        out=address_of(rows),
        columns=columns,
        prepared=prepared,
        barrier=barrier,
    )
