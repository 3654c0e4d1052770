"""What operations with products of weight matrices have in common."""

from __future__ import annotations

from ..formats.tensor_types import KERNEL_TYPES
from ..gemm.sizes import (
    PANEL_BUFFER_BYTES,
    PANEL_SCRATCH_BYTES,
    ROW_SCRATCH_BYTES,
    ROW_SUMS,
    ROWS,
    tile_count,
)
from ..jit import isa
from ..threads.tape import Code, Tape
from .batch_part import EVERY_TOKEN, BatchPart
from .operands import Activation, Matrix


def count_work(tape: Tape, matrix: Matrix, part: BatchPart, n_choices: int = 1) -> None:
    """Count what a product costs for one token of a part, which meets `n_choices` such matrices."""
    n_bytes, multiply_adds = n_choices * matrix.n_bytes, n_choices * matrix.rows * matrix.columns
    if part == EVERY_TOKEN:
        tape.work.weight_bytes += n_bytes
        tape.work.multiply_adds += multiply_adds
    else:
        tape.work.output_bytes += n_bytes
        tape.work.output_multiply_adds += multiply_adds


def kernels_of(matrix: Matrix, activation: Activation) -> dict[str, Code]:
    """The products of a matrix in the row form and in the panel form."""
    in_floats = activation.precision == "f32" and not KERNEL_TYPES[matrix.type].is_float
    few, many = ("dequantized", "dequantized") if in_floats else ("gemv", "gemm")
    return {
        "dot_rows": Code(f"gemm.{few}.dot_rows:{matrix.type}"),
        "multiply": Code(f"gemm.{many}.multiply:{matrix.type}"),
    }


def reserve_product_scratch(tape: Tape, *matrices: Matrix) -> int:
    """Room for the row form, or for panels, a copy of 32 rows and two sets of sums, whose offset is given."""
    row_bytes = max(matrix.row_bytes for matrix in matrices)
    panels = PANEL_SCRATCH_BYTES + PANEL_BUFFER_BYTES + ROWS * row_bytes
    offset = -(-max(panels, ROW_SUMS + ROW_SCRATCH_BYTES) // 64) * 64
    tape.reserve_scratch(offset + 2 * tile_count(tape.max_tokens) * isa.current().tile * 4 * ROWS + 64)
    return offset
