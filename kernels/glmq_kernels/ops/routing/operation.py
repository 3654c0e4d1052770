"""Choosing each token's experts."""

from __future__ import annotations

import numpy as np

from ...arrays import address_of
from ...threads.tape import Scratch, ScratchBytes, Tape, UnlessOne
from ..batch_part import EVERY_TOKEN, BatchPart
from ..batch_state import N_TOKENS
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
    part: BatchPart = EVERY_TOKEN,
) -> None:
    """Choose each token's experts from the router's logits (n_tokens, n_experts), and sort them."""
    tape.keep((bias, routing))
    tape.reserve_scratch(4 * (2 * -(-routing.n_experts // 16) * 16 + n_groups))
    tape.add(
        "ops.routing.kernel.top_k",
        TopK,
        count_slot=part.count_slot,
        logits=address_of(logits),
        scratch=Scratch,
        scratch_bytes=ScratchBytes,
        bias=0 if bias is None else address_of(bias),
        n_groups=n_groups,
        kept_groups=kept_groups,
        normalize=int(normalize),
        factor=float(factor),
        routing=routing.address,
        barrier=UnlessOne(N_TOKENS),
    )
    dispatch(tape, routing, part)


def dispatch(tape: Tape, routing: Routing, part: BatchPart = EVERY_TOKEN) -> None:
    """Sort the tokens' choices by expert."""
    tape.add(
        "ops.routing.kernel.dispatch",
        Dispatch,
        count_slot=part.count_slot,
        row_form_slot=part.row_form_slot,
        routing=routing.address,
        barrier=UnlessOne(N_TOKENS),
    )
