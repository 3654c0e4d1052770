"""Going on for the tokens only whose outputs are wanted."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Tape
from ..operands import Activation
from .arguments import GatherOutputs


def gather_outputs(
    tape: Tape,
    stream: np.ndarray,
    stream_out: np.ndarray,
    columns: int,
    attended: Activation,
    attended_out: Activation,
) -> None:
    """stream_out (n_outputs, columns) and attended_out = rows of stream and attended, by output."""
    tape.add(
        "ops.outputs.kernel.gather_outputs",
        GatherOutputs,
        stream=address_of(stream),
        stream_out=address_of(stream_out),
        stream_columns=columns,
        attended=address_of(attended.rows),
        attended_out=attended_out.address,
    )
