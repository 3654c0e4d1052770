"""Rows of a matrix of any tensor type as floats, for what rewrites files rather than runs models."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of, zeros
from ...formats.tensor_types import MATRIX_TYPES
from ...jit.call_record import in_order
from ...jit.store import arguments, kernel
from ..batch_state import N_TOKENS, TOKENS
from .arguments import Embed


def dequantize_rows(rows: np.ndarray, type_name: str, out: np.ndarray | None = None) -> np.ndarray:
    """The weights that rows of blocks stand for: float32 (n_rows, columns).

    rows: uint8 (n_rows, row bytes), C-contiguous. out: where to put them, float32 of that shape,
    C-contiguous. Runs on the calling thread, without the GIL: the kernel of the embedding, for which the rows
    are those of so many tokens. Raises ValueError for arguments that do not fit together.
    """
    kind = MATRIX_TYPES[type_name]
    n_rows, row_bytes = rows.shape
    columns = row_bytes // kind.block_bytes * kind.block
    if row_bytes % kind.block_bytes or rows.dtype != np.uint8 or not rows.flags.c_contiguous:
        raise ValueError(f"rows of {row_bytes} bytes are no {type_name} blocks, or are not contiguous")
    if out is None:
        out = zeros((n_rows, columns), np.float32)
    if out.shape != (n_rows, columns) or out.dtype != np.float32 or not out.flags.c_contiguous:
        raise ValueError(f"the output must be contiguous float32 {(n_rows, columns)}")
    tokens = np.arange(n_rows, dtype=np.int64)
    state = zeros(TOKENS + 1, np.int64)
    state[N_TOKENS], state[TOKENS] = n_rows, address_of(tokens)
    fields = {
        "matrix": address_of(rows),
        "row_bytes": row_bytes,
        "columns": columns,
        "out": address_of(out),
    }
    nothing_taken, n_nodes = 0, 1
    record = arguments(address_of(state), nothing_taken, n_nodes, *in_order(Embed, fields))
    kernel(f"ops.embedding.kernel.rows:{type_name}")(address_of(record))
    return out
