"""The operations that a forward pass is built from. Each appends kernels to a tape.

Operands are described in `operands.py`, the kernels in `native/`. n_tokens is the batch of a run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from . import isa
from .cache_layout import position_bytes
from .formats import FORMATS
from .memory import ROW_PADDING, address_of, aligned_zeros
from .operands import Activation, Experts, Matrix, Routing
from .slots import FIRST_OUTPUT, N_OUTPUTS, N_TOKENS
from .tape import Code, Scratch, ScratchBytes, Tape
from .tiles import ATTENTION_CHUNK, ATTENTION_RUN, FEW, PANEL_BUFFER_BYTES, PANEL_SCRATCH_BYTES, ROWS


def float_rows(tape: Tape, columns: int) -> np.ndarray:
    """Memory for float32 (max_tokens, columns), as uint8; padded so that 16 lanes may pass the end."""
    memory = aligned_zeros(tape.max_tokens * columns * 4 + ROW_PADDING)
    tape.keep(memory)
    return memory


def new_activation(tape: Tape, columns: int, rows: int | None = None, tiles: int | None = None) -> Activation:
    """An activation for a tape's batches, or of `rows` rows and `tiles` tiles."""
    activation = Activation(rows or tape.max_tokens, columns, tiles or tape.max_tiles, tape.activations)
    tape.keep(activation)
    return activation


def embed(tape: Tape, matrix: Matrix, out: np.ndarray) -> None:
    """out (n_tokens, columns) = the matrix's rows of the tokens."""
    tape.keep(matrix)
    tape.add(
        f"embedding.rows:{matrix.type}", matrix.address, matrix.row_bytes, matrix.columns, address_of(out)
    )


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
    columns = out.columns
    tape.add(
        "norm.rms", count, first, address_of(source), columns, address_of(weight), float(epsilon), out.address
    )


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
    outputs_only: bool = False,
    meet: bool = True,
) -> None:
    """out = activation x matrix^T (+ bias) for each projection, or += with `accumulate`."""
    sums = 0
    values: list[object] = []
    for each in projections:
        matrix = each.matrix
        activation.serve(matrix.type)
        if outputs_only:
            tape.work.output_bytes += matrix.n_bytes
            tape.work.output_multiply_adds += matrix.rows * matrix.columns
        else:
            _count_work(tape, matrix)
        tape.keep((matrix, each.bias))
        sums = max(sums, _reserve_product_scratch(tape, matrix))
        values += [
            matrix.address, matrix.row_bytes, matrix.rows, 0 if each.out is None else address_of(each.out),
            0 if each.bias is None else address_of(each.bias), *_kernels_of(matrix, activation),
        ]  # fmt: skip
    tape.add(
        "matmul.matmul", N_OUTPUTS if outputs_only else N_TOKENS, activation.address, int(accumulate),
        Scratch, ScratchBytes, sums, len(projections), *values, meet=meet,
    )  # fmt: skip


def _count_work(tape: Tape, matrix: Matrix, n_choices: int = 1) -> None:
    tape.work.weight_bytes += n_choices * matrix.n_bytes
    tape.work.multiply_adds += n_choices * matrix.rows * matrix.columns


def _kernels_of(matrix: Matrix, activation: Activation) -> list[Code]:
    """The products of a matrix with one token, with four, and with many."""
    if activation.precision == "f32" and not FORMATS[matrix.type].is_float:
        names = ("dequantized.dot_rows", "dequantized.dot_rows_4", "dequantized.multiply")
    else:
        names = ("gemv.dot_rows", "gemv.dot_rows_4", "product.multiply")
    return [Code(f"{name}:{matrix.type}") for name in names]


def _reserve_product_scratch(tape: Tape, *matrices: Matrix) -> int:
    """Room for panels, a copy of 32 rows, and two sets of sums; gives the offset of the sums."""
    row_bytes = max(matrix.row_bytes for matrix in matrices)
    offset = PANEL_SCRATCH_BYTES + PANEL_BUFFER_BYTES + -(-32 * row_bytes // 64) * 64
    tape.reserve_scratch(offset + 2 * tape.max_tiles * isa.current().tile * 4 * ROWS + 64)
    return offset


def rotate_and_store(
    tape: Tape,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    *,
    n_heads: int,
    n_kv_heads: int,
    head_dim: int,
    n_rotated: int,
    interleaved: bool,
    cosines: np.ndarray,
    sines: np.ndarray,
    q_norm: np.ndarray | None,
    k_norm: np.ndarray | None,
    epsilon: float,
    cache_layer: int,
    cache_type: str = "F16",
) -> None:
    """Norm (where there are weights) and rotate q and k, scale q, store k and v in the KV cache."""
    tape.keep((cosines, sines, q_norm, k_norm))
    tape.add(
        f"rope.rotate_and_store:{cache_type}", address_of(q), address_of(k), address_of(v), n_heads,
        n_kv_heads, head_dim, n_rotated, int(interleaved), address_of(cosines), address_of(sines),
        0 if q_norm is None else address_of(q_norm), 0 if k_norm is None else address_of(k_norm),
        float(epsilon), cache_layer, position_bytes(cache_type, head_dim),
    )  # fmt: skip


def attend(
    tape: Tape,
    q: np.ndarray,
    out: Activation,
    *,
    n_heads: int,
    n_kv_heads: int,
    head_dim: int,
    cache_layer: int,
    cache_type: str = "F16",
) -> None:
    """out = softmax(q k^T) v over the KV cache; query head j reads kv head j // (heads / kv heads)."""
    heads = n_heads // n_kv_heads
    # The largest groups of query rows with the fewest repeated ones.
    rows = min(isa.current().attention_rows, key=lambda size: (-(-heads // size) * size, -size))
    partial = aligned_zeros(tape.n_threads * FEW * n_heads * (head_dim + 2) * 4)
    tape.keep(partial)
    group_bytes = 4 * rows * (2 * head_dim + 4)
    tape.reserve_scratch(ATTENTION_RUN * group_bytes + 4 * rows * ATTENTION_CHUNK + 64)
    tape.add(
        f"attention.attend:{rows}:{head_dim}:{cache_type}", address_of(q), address_of(out.rows), n_heads,
        n_kv_heads, cache_layer, position_bytes(cache_type, head_dim), address_of(partial), Scratch,
        ScratchBytes,
    )  # fmt: skip
    heads_in_blocks = 32 // math.gcd(head_dim, 32)
    tape.add(
        "attention.finish", out.address, n_heads, n_kv_heads, head_dim, address_of(partial), rows,
        heads_in_blocks,
    )  # fmt: skip


def route(
    tape: Tape,
    logits: np.ndarray,
    routing: Routing,
    *,
    bias: np.ndarray | None,
    n_groups: int,
    kept_groups: int,
    normalize: bool,
    factor: float,
) -> None:
    """Choose each token's experts from the router's logits (n_tokens, n_experts), and sort them."""
    row_length = -(-routing.n_experts // 16) * 16 + -(-n_groups // 16) * 16
    choice = float_rows(tape, row_length)
    tape.keep((bias, routing))
    tape.add(
        "routing.choose", address_of(logits), address_of(choice), row_length,
        0 if bias is None else address_of(bias), n_groups, kept_groups, int(normalize), float(factor),
        routing.address,
    )  # fmt: skip
    tape.add("routing.sort", routing.address)


def gather_tiles(tape: Tape, source: Activation, target: Activation, routing: Routing) -> None:
    """Bring each expert's tokens together."""
    tape.add("activation.gather_tiles", source.address, target.address, routing.address)


def gate_up(
    tape: Tape,
    experts: Experts,
    activation: Activation,
    gathered: Activation,
    routing: Routing | None,
    hidden: Activation,
    *,
    meet: bool = True,
) -> None:
    """hidden = silu(gate x) * up x for each token and choice (one choice without `routing`)."""
    gate, up = experts.gate, experts.up
    for matrix in (gate, up):
        activation.serve(matrix.type)
        gathered.serve(matrix.type)
        _count_work(tape, matrix, routing.top_k if routing else 1)
    hidden.serve(experts.down.type)
    tape.keep(experts)
    sums = _reserve_product_scratch(tape, gate, up)
    tape.add(
        "feed_forward.gate_up", routing.address if routing else 0, activation.address, gathered.address,
        experts.address, gate.rows, hidden.address, Scratch, ScratchBytes, sums, gate.row_bytes,
        *_kernels_of(gate, activation), up.row_bytes, *_kernels_of(up, activation), meet=meet,
    )  # fmt: skip


def down(
    tape: Tape,
    experts: Experts,
    hidden: Activation,
    routing: Routing | None,
    out: np.ndarray,
    *,
    meet: bool = True,
) -> None:
    """out (n_tokens, rows) += weight * down hidden, over each token's choices."""
    matrix = experts.down
    _count_work(tape, matrix, routing.top_k if routing else 1)
    sums = _reserve_product_scratch(tape, matrix)
    tape.add(
        "feed_forward.down", routing.address if routing else 0, hidden.address, experts.address, matrix.rows,
        address_of(out), Scratch, ScratchBytes, sums, matrix.row_bytes,
        *_kernels_of(matrix, hidden), meet=meet,
    )  # fmt: skip
