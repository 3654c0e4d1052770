"""Root-mean-square normalization."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Tape
from ..batch_state import FIRST_OUTPUT, N_OUTPUTS, N_TOKENS
from ..operands import Activation
from .arguments import RmsNorm


def rms_norm(
    tape: Tape,
    source: np.ndarray,
    weight: np.ndarray,
    epsilon: float,
    out: Activation,
    *,
    outputs_only: bool = False,
) -> None:
    """out = source / rms(source) * weight, for every token or only those whose logits are wanted."""
    tape.keep(weight)
    count, first = (N_OUTPUTS, FIRST_OUTPUT) if outputs_only else (N_TOKENS, -1)
    tape.add(
        "ops.norm.kernel.rms",
        RmsNorm,
        count_slot=count,
        first_slot=first,
        source=address_of(source),
        columns=out.columns,
        weight=address_of(weight),
        epsilon=float(epsilon),
        out=out.address,
    )
