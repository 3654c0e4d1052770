"""Products of weight matrices with every token."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arrays import address_of
from ...threads.tape import Scratch, ScratchBytes, Tape
from ..batch_part import EVERY_TOKEN, BatchPart
from ..input_sums.operation import sum_inputs
from ..operands import Activation, Matrix
from ..products import count_work, kernels_of, reserve_product_scratch
from .arguments import Matmul, MatmulMatrix


@dataclass(frozen=True)
class Projection:
    """A product with a matrix: out (n_tokens, matrix.rows), or where the state's logits are; a bias."""

    matrix: Matrix
    out: np.ndarray | None
    bias: np.ndarray | None = None


def matmul(
    tape: Tape,
    activation: Activation,
    *projections: Projection,
    accumulate: bool = False,
    part: BatchPart = EVERY_TOKEN,
    barrier: bool = True,
) -> None:
    """out = activation x matrix^T (+ bias) for each projection, or +=, for the rows of a part."""
    sum_inputs(tape, (each.matrix for each in projections), activation, part)
    sums = 0
    parts: list[dict[str, object]] = []
    for each in projections:
        matrix = each.matrix
        activation.serve(matrix.type)
        count_work(tape, matrix, part)
        tape.keep((matrix, each.bias))
        sums = max(sums, reserve_product_scratch(tape, matrix))
        parts.append(
            {
                "weight": matrix.address,
                "row_bytes": matrix.row_bytes,
                "rows": matrix.rows,
                "out": 0 if each.out is None else address_of(each.out),
                "bias": 0 if each.bias is None else address_of(each.bias),
                **kernels_of(matrix, activation),
            }
        )
    tape.add(
        "ops.matmul.kernel.matmul",
        Matmul,
        count_slot=part.count_slot,
        row_form_slot=part.row_form_slot,
        activation=activation.address,
        accumulate=int(accumulate),
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
        sums_offset=sums,
        n_matrices=len(projections),
        parts=(MatmulMatrix, parts),
        barrier=barrier,
    )
