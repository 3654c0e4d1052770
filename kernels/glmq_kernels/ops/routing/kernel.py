"""Which experts work on which tokens (Glm4MoeTopkRouter in Hugging Face transformers).

Scores are sigmoids of the router's logits. A correction bias counts for the choice only; the weights
are the scores themselves, divided by their sum if wanted, times a factor.

Whatever the numbers are, a token's experts are `top_k` different ones. Where a logit or a biased score is
not finite, all of the token's weights are NaN, so that it shows in the output.
"""

from __future__ import annotations

import math

from ...gemm.activation import TILE
from ...gemm.sizes import few
from ...simd.addresses import argument, float_argument, inline, load_f32, load_i64, store_f32, store_i64
from ...simd.mathematics import nan_unless_finite, sigmoid
from ...simd.vectors import load_f32x16, store
from ...threads.argument_record import STATE
from ..batch_state import N_TOKENS
from .arguments import Dispatch, TopK
from .record import (
    ROUTING_CHOSEN,
    ROUTING_IN_ROW_FORM,
    ROUTING_N_EXPERTS,
    ROUTING_OFFSETS,
    ROUTING_ORDER,
    ROUTING_TILE_OFFSETS,
    ROUTING_TOP_K,
    ROUTING_WEIGHTS,
)

FEW = few()
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


@inline
def _rounded_up(count):
    return (count + 15) // 16 * 16


@inline
def _choose(args, t, scores):
    """One token's experts and weights; scores: scratch."""
    routing = argument(args, TopK.ROUTING)
    n_experts, n_chosen = argument(routing, ROUTING_N_EXPERTS), argument(routing, ROUTING_TOP_K)
    n_groups, bias = argument(args, TopK.N_GROUPS), argument(args, TopK.BIAS)
    choice = scores + 4 * _rounded_up(n_experts)
    group_scores = choice + 4 * _rounded_up(n_experts)
    logits = argument(args, TopK.LOGITS) + 4 * n_experts * t
    for i in range(0, n_experts, 16):
        store(scores + 4 * i, sigmoid(nan_unless_finite(load_f32x16(logits + 4 * i))))
    nothing = 0.0  # NaN once a score is not finite
    for i in range(n_experts):
        score = load_f32(scores + 4 * i)
        if bias:
            score += load_f32(bias + 4 * i)
        nothing += score - score
        store_f32(choice + 4 * i, score if score > LEAST else LEAST)
    if n_groups > 1:
        _keep_best_groups(choice, n_experts, n_groups, argument(args, TopK.KEPT_GROUPS), group_scores)
    total = nothing
    for _ in range(n_chosen):
        total += load_f32(scores + 4 * _take_largest(choice, n_experts))
    factor = float_argument(args, TopK.FACTOR) + nothing
    if argument(args, TopK.NORMALIZE):
        factor /= total + 1e-20
    chosen = argument(routing, ROUTING_CHOSEN) + 8 * n_chosen * t
    weights = argument(routing, ROUTING_WEIGHTS) + 4 * n_chosen * t
    k = 0
    for i in range(n_experts):
        if load_f32(choice + 4 * i) == TAKEN:
            store_i64(chosen + 8 * k, i)
            store_f32(weights + 4 * k, load_f32(scores + 4 * i) * factor)
            k += 1


def top_k(args, thread, threads):
    """Choose experts for each token.

    A thread's scratch: float32 scores, choice scores and scores of groups, each rounded up to 16. A run of
    one token is worked out by every thread for itself, so that none need wait for another: nothing but the
    results is written to shared memory.
    """
    state = argument(args, STATE)
    scratch = argument(args, TopK.SCRATCH) + thread * argument(args, TopK.SCRATCH_BYTES)
    n = argument(state, argument(args, TopK.COUNT_SLOT))
    if argument(state, N_TOKENS) == 1:
        thread, threads = 0, 1
    for t in range(thread, n, threads):
        _choose(args, t, scratch)


def dispatch(args, thread, threads):
    """Order a batch's assignments by expert, on thread 0.

    Those of an expert are in the order of the tokens, so the ones of the row form come first. Where few are
    left for panels they take the row form too. With one token there is nothing to sort.
    """
    state, routing = argument(args, STATE), argument(args, Dispatch.ROUTING)
    n = argument(state, argument(args, Dispatch.COUNT_SLOT))
    n_row_tokens = min(argument(state, argument(args, Dispatch.ROW_FORM_SLOT)), n)
    if thread == 0 and n > 1:
        n_experts, n_chosen = argument(routing, ROUTING_N_EXPERTS), argument(routing, ROUTING_TOP_K)
        chosen, order = argument(routing, ROUTING_CHOSEN), argument(routing, ROUTING_ORDER)
        offsets, tiles = argument(routing, ROUTING_OFFSETS), argument(routing, ROUTING_TILE_OFFSETS)
        in_row_form = argument(routing, ROUTING_IN_ROW_FORM)
        for e in range(n_experts):
            store_i64(offsets + 8 * e, 0)
            store_i64(in_row_form + 8 * e, 0)
        store_i64(offsets + 8 * n_experts, 0)
        for a in range(n * n_chosen):
            expert = load_i64(chosen + 8 * a)
            _add_one(offsets + 8 * (expert + 1))
            if a < n_row_tokens * n_chosen:
                _add_one(in_row_form + 8 * expert)
        store_i64(tiles, 0)
        for e in range(n_experts):
            count = load_i64(offsets + 8 * (e + 1))
            in_panels = count - load_i64(in_row_form + 8 * e)
            if in_panels <= FEW:
                store_i64(in_row_form + 8 * e, count)
                in_panels = 0
            store_i64(offsets + 8 * (e + 1), load_i64(offsets + 8 * e) + count)
            store_i64(tiles + 8 * (e + 1), load_i64(tiles + 8 * e) + (in_panels + TILE - 1) // TILE)
        for a in range(n * n_chosen):
            at = offsets + 8 * load_i64(chosen + 8 * a)
            store_i64(order + 8 * load_i64(at), a)
            _add_one(at)
        for e in range(n_experts, 0, -1):
            store_i64(offsets + 8 * e, load_i64(offsets + 8 * (e - 1)))
        store_i64(offsets, 0)


@inline
def _add_one(at):
    store_i64(at, load_i64(at) + 1)
