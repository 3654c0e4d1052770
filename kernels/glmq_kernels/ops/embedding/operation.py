"""Token ids to rows of the embedding matrix."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Tape
from ..operands import Matrix
from .arguments import Embed


def embed(tape: Tape, matrix: Matrix, out: np.ndarray) -> None:
    """out (n_tokens, columns) = the matrix's rows of the tokens."""
    tape.keep(matrix)
    tape.add(
        f"ops.embedding.kernel.rows:{matrix.type}",
        Embed,
        matrix=matrix.address,
        row_bytes=matrix.row_bytes,
        columns=matrix.columns,
        out=address_of(out),
    )
