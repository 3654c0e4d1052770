"""Choosing each token's experts."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Tape
from ..buffers import float_rows
from ..operands import Routing
from .arguments import Dispatch, TopK


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
        "ops.routing.kernel.top_k",
        TopK,
        logits=address_of(logits),
        choice=address_of(choice),
        row_length=row_length,
        bias=0 if bias is None else address_of(bias),
        n_groups=n_groups,
        kept_groups=kept_groups,
        normalize=int(normalize),
        factor=float(factor),
        routing=routing.address,
    )
    dispatch(tape, routing)


def dispatch(tape: Tape, routing: Routing) -> None:
    """Sort the tokens' choices by expert."""
    tape.add("ops.routing.kernel.dispatch", Dispatch, routing=routing.address)
