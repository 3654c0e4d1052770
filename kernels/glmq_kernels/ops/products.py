"""What operations with products of weight matrices have in common."""

from __future__ import annotations

from ..formats.tensor_types import MATRIX_TYPES
from ..gemm.sizes import (
    PANEL_BUFFER_BYTES,
    ROW_SCRATCH_BYTES,
    ROW_SUMS,
    ROWS,
    panel_rows,
    panel_scratch_bytes,
    takes_bfloat,
    tile_count,
)
from ..jit import isa
from ..threads.tape import Code, Product, Tape
from .batch_part import ABSORBED, ABSORBED_OUTPUTS, LOGITS_ONLY, OUTPUTS_ONLY, BatchPart
from .operands import Activation, Matrix, Routing


def count_work(
    tape: Tape, matrix: Matrix, part: BatchPart, *, n_heads: int = 1, routing: Routing | None = None
) -> None:
    """Count a product: with a matrix, with one for each head, or with those of a routing's experts."""
    tape.work.products.append(
        Product(
            type=matrix.type,
            rows=matrix.rows,
            columns=matrix.columns,
            n_bytes=matrix.n_bytes,
            n_choices=routing.top_k if routing else n_heads,
            n_matrices=routing.n_experts if routing else n_heads,
            routed=routing is not None,
            outputs_only=part in (OUTPUTS_ONLY, LOGITS_ONLY, ABSORBED_OUTPUTS),
            absorbed_only=part in (ABSORBED, ABSORBED_OUTPUTS),
        )
    )


def kernels_of(matrix: Matrix, activation: Activation) -> dict[str, Code]:
    """The products of a matrix in the row form and in the panel form."""
    is_exact, is_float = activation.precision == "f32", MATRIX_TYPES[matrix.type].is_float
    few = "dequantized" if is_exact and not is_float else "gemv"
    many = "dequantized" if is_exact and (not is_float or takes_bfloat(matrix.type)) else "gemm"
    return {
        "dot_rows": Code(f"gemm.{few}.dot_rows:{matrix.type}"),
        "multiply": Code(f"gemm.{many}.multiply:{matrix.type}"),
    }


def reserve_product_scratch(tape: Tape, *matrices: Matrix) -> int:
    """Room for the row form, or for panels, a copy of 32 rows and two sets of sums, whose offset is given."""
    row_bytes = max(matrix.row_bytes for matrix in matrices)
    panels = panel_scratch_bytes() + PANEL_BUFFER_BYTES + ROWS * row_bytes
    offset = -(-max(panels, ROW_SUMS + ROW_SCRATCH_BYTES) // 64) * 64
    n_tokens = tile_count(tape.max_tokens) * isa.current().tile
    tape.reserve_scratch(offset + 2 * n_tokens * 4 * panel_rows() + 64)
    return offset
