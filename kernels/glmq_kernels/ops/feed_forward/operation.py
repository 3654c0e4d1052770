"""Gated feed-forward networks, dense or of routed experts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...arrays import address_of
from ...threads.tape import Scratch, ScratchBytes, Tape
from ..batch_part import EVERY_TOKEN, BatchPart
from ..input_sums.operation import sum_inputs
from ..operands import Activation, Experts, Matrix, Routing
from ..products import count_work, kernels_of, reserve_product_scratch
from .arguments import Down, DownNetwork, GateUp, NetworkMatrix


@dataclass(frozen=True)
class Network:
    """A feed-forward network between its two operations.

    experts: its matrices. hidden: a row for each token and choice, by expert. routing: None: it is dense.
    """

    experts: Experts
    hidden: Activation
    routing: Routing | None = None


def gate_up(
    tape: Tape,
    network: Network,
    activation: Activation,
    gathered: Activation,
    *,
    part: BatchPart = EVERY_TOKEN,
    barrier: bool = True,
) -> None:
    """hidden = silu(gate x) * up x for each token and choice (one choice without routing)."""
    experts, routing = network.experts, network.routing
    gate, up = experts.gate, experts.up
    sum_inputs(tape, (gate, up), activation, part, routing=routing)
    for matrix in (gate, up):
        activation.serve(matrix.type)
        gathered.serve(matrix.type)
        count_work(tape, matrix, part, routing=routing)
    network.hidden.serve(experts.down.type)
    tape.keep(experts)
    sums = reserve_product_scratch(tape, gate, up)
    tape.add(
        "ops.feed_forward.kernel.gate_up",
        GateUp,
        count_slot=part.count_slot,
        row_form_slot=part.row_form_slot,
        routing=routing.address if routing else 0,
        activation=activation.address,
        gathered=gathered.address,
        table=experts.address,
        rows=gate.rows,
        hidden=network.hidden.address,
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
        sums_offset=sums,
        parts=(NetworkMatrix, [_network_matrix(gate, activation), _network_matrix(up, activation)]),
        barrier=barrier,
    )


def down(tape: Tape, *networks: Network, out: np.ndarray, part: BatchPart = EVERY_TOKEN) -> None:
    """out (n_tokens, rows) += weight * down hidden, over the networks and each token's choices, in order.

    Where the experts of a routed network are run in groups, a dense one before it goes with the first.
    """
    parts: list[dict[str, object]] = []
    sums = 0
    for network, following in zip(networks, (*networks[1:], None), strict=True):
        matrix, routing = network.experts.down, network.routing
        count_work(tape, matrix, part, routing=routing)
        sums = max(sums, reserve_product_scratch(tape, matrix))
        after = following.routing if following and not routing else None
        sum_inputs(
            tape, (matrix,), network.hidden, part, routing=routing, by_place=routing is not None, after=after
        )
        parts.append(
            {
                **_network_matrix(matrix, network.hidden),
                "routing": routing.address if routing else 0,
                "hidden": network.hidden.address,
                "table": network.experts.address,
                "after": after.address if after else 0,
            }
        )
    tape.add(
        "ops.feed_forward.kernel.down",
        Down,
        count_slot=part.count_slot,
        row_form_slot=part.row_form_slot,
        rows=networks[0].experts.down.rows,
        out=address_of(out),
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
        sums_offset=sums,
        n_networks=len(networks),
        parts=(DownNetwork, parts),
    )


def _network_matrix(matrix: Matrix, activation: Activation) -> dict[str, object]:
    return {"row_bytes": matrix.row_bytes, **kernels_of(matrix, activation)}
