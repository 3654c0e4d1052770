"""Which tokens of which requests make up the next step."""

from __future__ import annotations

from collections.abc import Sequence

from glmq_kernels.gemm.sizes import ROW_TOKENS

from .request import Chunk, Request
from .step_costs import StepCosts

LONGEST_GAP = 0.5
"""Seconds between two tokens of a sequence while prompts of others are read."""

GAP_STEPS = 6
"""The same in steps that decode alone; the longer of the two counts."""

GAP_SHARE = 0.6
"""Of that gap, how much a step may take by its estimate: the rest is for what estimates do not know."""

LEAST_CHUNK = 16
"""Tokens of prompts that a step has at least, however long they take."""

GOOD_SPEED = 0.8
"""Of the best speed of prompts: a step has no more tokens than give that."""


def plan_step(
    decoding: Sequence[Request],
    prompts: Sequence[Request],
    costs: StepCosts,
    max_tokens: int,
    *,
    keep_short: bool,
    deterministic: bool,
) -> list[Chunk]:
    """The chunks of the next step, up to `max_tokens` tokens; those of the row form first, the longest last.

    So those that latent attention expands stand together at the end.

    decoding, prompts: requests that have something left, in the order of their turns. keep_short: whether
    sequences are decoding, beside those of these requests too.
    """
    rows, n_decode = [], 0
    for request in decoding:
        if n_decode + request.n_left <= max_tokens:
            rows.append(Chunk(request, request.n_left, in_rows=True))
            n_decode += request.n_left
    room = max_tokens - n_decode
    budget = min(room, prompt_budget(costs, n_decode, max_tokens) if keep_short else room)
    shares = fair_shares([request.n_left for request in prompts], budget)
    n_prompt = sum(shares)
    in_rows = deterministic or n_prompt <= ROW_TOKENS
    chunks = [Chunk(request, n, in_rows) for request, n in zip(prompts, shares, strict=True) if n]
    return [*rows, *sorted(chunks, key=lambda chunk: chunk.n_tokens)]


def prompt_budget(costs: StepCosts, n_decode: int, max_tokens: int) -> int:
    """Tokens of prompts in a step that keeps the gap between two tokens of a sequence short.

    As few as give a good part of the best speed, where that is known; else as many as the gap has room for.
    """
    decode = costs.decode.estimate(max(1, n_decode)) or 0.0
    left = GAP_SHARE * max(LONGEST_GAP, GAP_STEPS * decode) - decode
    fitting = LEAST_CHUNK
    for size in _sizes(max_tokens):
        seconds = costs.prompt.estimate(size)
        if seconds is None or seconds > left:
            break
        fitting = size
        is_good = size / (decode + seconds) >= GOOD_SPEED * costs.prompt.best_speed
        if is_good and costs.prompt.largest >= min(4 * size, max_tokens):
            break
    return fitting


def fair_shares(wanted: Sequence[int], budget: int) -> list[int]:
    """Share a budget of tokens out evenly; what one does not need the others get.

    Each gets at least LEAST_CHUNK or all that it needs, so that where there are many those behind get none.
    """
    shares = [0] * len(wanted)
    waiting = list(range(len(wanted)))[: max(1, budget // LEAST_CHUNK)]
    while waiting and budget:
        share = max(1, budget // len(waiting))
        for i in waiting:
            more = min(share, wanted[i] - shares[i], budget)
            shares[i] += more
            budget -= more
        waiting = [i for i in waiting if shares[i] < wanted[i]]
    return shares


def _sizes(most: int) -> list[int]:
    """Sizes of chunks that are tried: powers of two and the middle between two of them, and the most."""
    sizes, size = [], LEAST_CHUNK
    while size < most:
        sizes.append(size)
        size = size * 3 // 2 if size & (size - 1) == 0 else size * 4 // 3
    return [*sizes, most]
