"""Products of each attention head with a matrix of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arrays import address_of
from ...gemm.sizes import tile_count
from ...threads.tape import Scratch, ScratchBytes, Tape, UnlessOne
from ..batch_part import EVERY_TOKEN, BatchPart
from ..batch_state import N_TOKENS
from ..input_sums.operation import sum_inputs
from ..operands import Activation, Matrix
from ..products import count_work, kernels_of, reserve_product_scratch
from .arguments import GatherHeads, MultiplyHeads


@dataclass(frozen=True)
class HeadMatrices:
    """A matrix (rows, columns) for each head. first: that of head 0. head_bytes: from one to the next.

    input_scale: by what its inputs are multiplied beforehand.
    """

    first: Matrix
    n_heads: int
    head_bytes: int
    input_scale: float = 1.0


def new_heads(tape: Tape, n_heads: int, columns: int) -> Activation:
    """An activation (max_tokens * n_heads, columns): a row for each head of each token."""
    activation = Activation(
        tape.max_tokens * n_heads, columns, n_heads * tile_count(tape.max_tokens), tape.activations
    )
    tape.keep(
        activation, lambda n_tokens: activation.n_bytes(n_tokens * n_heads, n_heads * tile_count(n_tokens))
    )
    return activation


def gather_heads(
    tape: Tape,
    source: np.ndarray,
    heads: Activation,
    *,
    n_heads: int,
    source_columns: int,
    rest: tuple[np.ndarray, int] | None = None,
    part: BatchPart = EVERY_TOKEN,
) -> None:
    """heads = the first columns of each head of source (n, n_heads * source_columns), prepared.

    rest: float32 (n, n_heads * columns), and these columns: the end of its heads takes what is left of the
    source's.
    """
    out, out_columns = (0, 0) if rest is None else (address_of(rest[0]), rest[1])
    tape.add(
        "ops.heads.kernel.gather_heads",
        GatherHeads,
        count_slot=part.count_slot,
        row_form_slot=part.row_form_slot,
        source=address_of(source),
        source_columns=source_columns,
        heads=heads.address,
        n_heads=n_heads,
        out=out,
        out_columns=out_columns,
        barrier=UnlessOne(N_TOKENS),
    )


def multiply_heads(
    tape: Tape,
    heads: Activation,
    matrices: HeadMatrices,
    out: np.ndarray | Activation,
    *,
    out_columns: int,
    part: BatchPart = EVERY_TOKEN,
) -> None:
    """The first columns of each head of out (n, n_heads * out_columns) = its matrix x that head.

    out: where it is an activation it is prepared too; it must be filled whole then, and the rows of a matrix
    be a multiple of 32.
    """
    matrix, products = matrices.first, kernels_of(matrices.first, heads)
    sum_inputs(tape, (matrix,), heads, part, n_heads=matrices.n_heads, scale=matrices.input_scale)
    prepared = isinstance(out, Activation)
    assert not prepared or (out_columns == matrix.rows and matrix.rows % 32 == 0)
    heads.serve(matrix.type)
    count_work(tape, matrix, part, n_heads=matrices.n_heads)
    tape.keep(matrix)
    tape.add(
        "ops.heads.kernel.multiply_heads",
        MultiplyHeads,
        count_slot=part.count_slot,
        row_form_slot=part.row_form_slot,
        heads=heads.address,
        n_heads=matrices.n_heads,
        weight=matrix.address,
        head_bytes=matrices.head_bytes,
        row_bytes=matrix.row_bytes,
        rows=matrix.rows,
        dot_rows=products["dot_rows"],
        multiply=products["multiply"],
        out=address_of(out.rows if isinstance(out, Activation) else out),
        out_columns=out_columns,
        prepared=out.address if isinstance(out, Activation) else 0,
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
        sums_offset=reserve_product_scratch(tape, matrix),
    )
