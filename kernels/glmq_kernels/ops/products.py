"""What operations with products of weight matrices have in common."""

from __future__ import annotations

from ..formats.tensor_types import KERNEL_TYPES
from ..gemm.sizes import PANEL_BUFFER_BYTES, PANEL_SCRATCH_BYTES, ROWS
from ..jit import isa
from ..threads.tape import Code, Tape
from .operands import Activation, Matrix


def count_work(tape: Tape, matrix: Matrix, n_choices: int = 1) -> None:
    """Count what a product costs for one token, which meets `n_choices` such matrices."""
    tape.work.weight_bytes += n_choices * matrix.n_bytes
    tape.work.multiply_adds += n_choices * matrix.rows * matrix.columns


def kernels_of(matrix: Matrix, activation: Activation) -> dict[str, Code]:
    """The products of a matrix with one token, with four, and with many."""
    if activation.precision == "f32" and not KERNEL_TYPES[matrix.type].is_float:
        few, many = "gemm.dequantized", "gemm.dequantized"
    else:
        few, many = "gemm.gemv", "gemm.gemm"
    return {
        "dot_rows": Code(f"{few}.dot_rows:{matrix.type}"),
        "dot_rows_4": Code(f"{few}.dot_rows_4:{matrix.type}"),
        "multiply": Code(f"{many}.multiply:{matrix.type}"),
    }


def reserve_product_scratch(tape: Tape, *matrices: Matrix) -> int:
    """Room for panels, a copy of 32 rows, and two sets of sums; gives the offset of the sums."""
    row_bytes = max(matrix.row_bytes for matrix in matrices)
    offset = PANEL_SCRATCH_BYTES + PANEL_BUFFER_BYTES + -(-32 * row_bytes // 64) * 64
    tape.reserve_scratch(offset + 2 * tape.max_tiles * isa.current().tile * 4 * ROWS + 64)
    return offset
