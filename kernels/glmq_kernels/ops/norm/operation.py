"""Root-mean-square normalization."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Tape, UnlessOne
from ..batch_part import EVERY_TOKEN, BatchPart
from ..batch_state import N_TOKENS
from ..operands import Activation
from .arguments import RmsNorm


def rms_norm(
    tape: Tape,
    source: np.ndarray,
    weight: np.ndarray,
    epsilon: float,
    out: Activation,
    part: BatchPart = EVERY_TOKEN,
) -> None:
    """out = source / rms(source) * weight, for the first rows, as many as there are in a part."""
    tape.keep(weight)
    tape.add(
        "ops.norm.kernel.rms",
        RmsNorm,
        count_slot=part.count_slot,
        row_form_slot=part.row_form_slot,
        source=address_of(source),
        columns=out.columns,
        weight=address_of(weight),
        epsilon=float(epsilon),
        out=out.address,
        barrier=UnlessOne(N_TOKENS),
    )
