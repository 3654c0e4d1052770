"""Which experts work on which tokens (Glm4MoeTopkRouter in Hugging Face transformers).

Scores are sigmoids of the router's logits. A correction bias counts for the choice only; the weights
are the scores themselves, divided by their sum if wanted, times a factor.

Whatever the numbers are, a token's experts are `top_k` different ones. Where a logit or a biased score is
not finite, all of the token's weights are NaN, so that it shows in the output.
"""

from __future__ import annotations

import math

from ...gemm.activation import TILE
from ...simd.addresses import argument, float_argument, inline, load_f32, load_i64, store_f32, store_i64
from ...simd.mathematics import nan_unless_finite, sigmoid
from ...simd.vectors import load_f32x16, store
from ...threads.argument_record import STATE
from ..batch_state import N_TOKENS
from .arguments import Dispatch, TopK
from .record import (
    ROUTING_CHOSEN,
    ROUTING_N_EXPERTS,
    ROUTING_OFFSETS,
    ROUTING_ORDER,
    ROUTING_TILE_OFFSETS,
    ROUTING_TOP_K,
    ROUTING_WEIGHTS,
)

LEAST = -3.3e38
"""What scores below it, or that are NaN, are compared as."""

RULED_OUT = -3.4e38
"""Of experts in groups that are not kept: chosen only where nothing else is left."""

TAKEN = -math.inf
"""Of what has been chosen: less than anything else."""


@inline
def _take_largest(scores, count):
    """Index of the largest of `count` float32 that is not taken, the first of equals; it is taken then."""
    best, best_score = 0, TAKEN
    for i in range(count):
        score = load_f32(scores + 4 * i)
        if score > best_score:
            best, best_score = i, score
    store_f32(scores + 4 * best, TAKEN)
    return best


@inline
def _keep_best_groups(choice, n_experts, n_groups, kept_groups, group_scores):
    """Rule out experts outside the groups with the largest sums of their two best."""
    size = n_experts // n_groups
    for g in range(n_groups):
        first, second = LEAST, LEAST
        for i in range(g * size, (g + 1) * size):
            score = load_f32(choice + 4 * i)
            if score > first:
                first, second = score, first
            elif score > second:
                second = score
        store_f32(group_scores + 4 * g, max(first + second, LEAST))
    for _ in range(kept_groups):
        _take_largest(group_scores, n_groups)
    for i in range(n_experts):
        if load_f32(group_scores + 4 * (i // size)) > TAKEN:
            store_f32(choice + 4 * i, RULED_OUT)


def top_k(args, thread, threads):
    """Choose experts for each token.

    Arguments: state, router logits (float32 (n, n_experts), become scores), choice scratch (float32
    (n, n_experts + groups), rounded up to 16), its row length, correction bias (float32 or 0), groups,
    groups kept, normalize (0 or 1), factor (float), routing. Logits have room for a multiple of 16.
    """
    state, routing = argument(args, STATE), argument(args, TopK.ROUTING)
    n_experts, n_chosen = argument(routing, ROUTING_N_EXPERTS), argument(routing, ROUTING_TOP_K)
    row_length, bias = argument(args, TopK.ROW_LENGTH), argument(args, TopK.BIAS)
    n_groups, kept_groups = argument(args, TopK.N_GROUPS), argument(args, TopK.KEPT_GROUPS)
    for t in range(thread, argument(state, N_TOKENS), threads):
        logits = argument(args, TopK.LOGITS) + 4 * n_experts * t
        choice = argument(args, TopK.CHOICE) + 4 * row_length * t
        chosen = argument(routing, ROUTING_CHOSEN) + 8 * n_chosen * t
        weights = argument(routing, ROUTING_WEIGHTS) + 4 * n_chosen * t
        for i in range(0, n_experts, 16):
            store(choice + 4 * i, sigmoid(nan_unless_finite(load_f32x16(logits + 4 * i))))
        nothing = 0.0  # NaN once a score is not finite
        for i in range(n_experts):
            score = load_f32(choice + 4 * i)
            store_f32(logits + 4 * i, score)
            if bias:
                score += load_f32(bias + 4 * i)
            nothing += score - score
            store_f32(choice + 4 * i, score if score > LEAST else LEAST)
        if n_groups > 1:
            _keep_best_groups(choice, n_experts, n_groups, kept_groups, choice + 4 * (row_length - n_groups))
        total = nothing
        for k in range(n_chosen):
            best = _take_largest(choice, n_experts)
            store_i64(chosen + 8 * k, best)
            total += load_f32(logits + 4 * best)
        factor = float_argument(args, TopK.FACTOR) + nothing
        if argument(args, TopK.NORMALIZE):
            factor /= total + 1e-20
        for k in range(n_chosen):
            store_f32(weights + 4 * k, load_f32(logits + 4 * load_i64(chosen + 8 * k)) * factor)


def dispatch(args, thread, threads):
    """Order a batch's assignments by expert, on thread 0. Arguments: state, routing.

    With one token there is nothing to sort: its experts are worked on in the order chosen.
    """
    state, routing = argument(args, STATE), argument(args, Dispatch.ROUTING)
    n = argument(state, N_TOKENS)
    if thread == 0 and n > 1:
        n_experts, n_chosen = argument(routing, ROUTING_N_EXPERTS), argument(routing, ROUTING_TOP_K)
        chosen, order = argument(routing, ROUTING_CHOSEN), argument(routing, ROUTING_ORDER)
        offsets, tiles = argument(routing, ROUTING_OFFSETS), argument(routing, ROUTING_TILE_OFFSETS)
        for e in range(n_experts + 1):
            store_i64(offsets + 8 * e, 0)
        for a in range(n * n_chosen):
            at = offsets + 8 * (load_i64(chosen + 8 * a) + 1)
            store_i64(at, load_i64(at) + 1)
        store_i64(tiles, 0)
        for e in range(n_experts):
            count = load_i64(offsets + 8 * (e + 1))
            store_i64(offsets + 8 * (e + 1), load_i64(offsets + 8 * e) + count)
            store_i64(tiles + 8 * (e + 1), load_i64(tiles + 8 * e) + (count + TILE - 1) // TILE)
        for a in range(n * n_chosen):
            at = offsets + 8 * load_i64(chosen + 8 * a)
            store_i64(order + 8 * load_i64(at), a)
            store_i64(at, load_i64(at) + 1)
        for e in range(n_experts, 0, -1):
            store_i64(offsets + 8 * e, load_i64(offsets + 8 * (e - 1)))
        store_i64(offsets, 0)
