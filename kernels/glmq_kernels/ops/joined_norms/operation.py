"""Two rows of each token, each normalized, side by side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arrays import address_of
from ...threads.tape import Tape
from ..operands import Activation
from .arguments import JoinedNorms


@dataclass(frozen=True)
class NormedRows:
    """Rows, float32 (n_tokens, columns) as `float_rows` gives them, and the weights of their norm."""

    rows: np.ndarray
    weight: np.ndarray


def join_norms(tape: Tape, first: NormedRows, second: NormedRows, epsilon: float, out: Activation) -> None:
    """out (n_tokens, 2 * columns) = RMSNorm(first) | RMSNorm(second)."""
    tape.keep((first.weight, second.weight))
    tape.add(
        "ops.joined_norms.kernel.join",
        JoinedNorms,
        first=address_of(first.rows),
        second=address_of(second.rows),
        columns=out.columns // 2,
        first_weight=address_of(first.weight),
        second_weight=address_of(second.weight),
        epsilon=float(epsilon),
        out=out.address,
    )
