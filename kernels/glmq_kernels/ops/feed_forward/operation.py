"""Gated feed-forward networks, dense or of routed experts."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Scratch, ScratchBytes, Tape
from ..operands import Activation, Experts, Matrix, Routing
from ..products import count_work, kernels_of, reserve_product_scratch
from .arguments import Down, GateUp, NetworkMatrix


def gate_up(
    tape: Tape,
    experts: Experts,
    activation: Activation,
    gathered: Activation,
    routing: Routing | None,
    hidden: Activation,
    *,
    barrier: bool = True,
) -> None:
    """hidden = silu(gate x) * up x for each token and choice (one choice without `routing`)."""
    gate, up = experts.gate, experts.up
    for matrix in (gate, up):
        activation.serve(matrix.type)
        gathered.serve(matrix.type)
        count_work(tape, matrix, routing.top_k if routing else 1)
    hidden.serve(experts.down.type)
    tape.keep(experts)
    sums = reserve_product_scratch(tape, gate, up)
    tape.add(
        "ops.feed_forward.kernel.gate_up",
        GateUp,
        routing=routing.address if routing else 0,
        activation=activation.address,
        gathered=gathered.address,
        table=experts.address,
        rows=gate.rows,
        hidden=hidden.address,
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
        sums_offset=sums,
        parts=(NetworkMatrix, [_network_matrix(gate, activation), _network_matrix(up, activation)]),
        barrier=barrier,
    )


def down(
    tape: Tape,
    experts: Experts,
    hidden: Activation,
    routing: Routing | None,
    out: np.ndarray,
    *,
    barrier: bool = True,
) -> None:
    """out (n_tokens, rows) += weight * down hidden, over each token's choices."""
    matrix = experts.down
    count_work(tape, matrix, routing.top_k if routing else 1)
    sums = reserve_product_scratch(tape, matrix)
    tape.add(
        "ops.feed_forward.kernel.down",
        Down,
        routing=routing.address if routing else 0,
        hidden=hidden.address,
        table=experts.address,
        rows=matrix.rows,
        out=address_of(out),
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
        sums_offset=sums,
        parts=(NetworkMatrix, [_network_matrix(matrix, hidden)]),
        barrier=barrier,
    )


def _network_matrix(matrix: Matrix, activation: Activation) -> dict[str, object]:
    return {"row_bytes": matrix.row_bytes, **kernels_of(matrix, activation)}
