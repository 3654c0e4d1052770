"""Choosing experts, against the rule of Hugging Face's Glm4MoeTopkRouter written out in numpy."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.gemm.sizes import few
from glmq_kernels.jit import isa
from glmq_kernels.ops import operations
from glmq_kernels.ops.operands import Routing

from .runs import fill, new_tape, padded, run


def choose(logits, bias, top_k, n_groups, kept_groups, normalize, factor):
    """Expert ids in ascending order, and their weights."""
    scores = 1 / (1 + np.exp(-logits.astype(np.float64)))
    choice = scores + bias
    if n_groups > 1:
        grouped = choice.reshape(len(choice), n_groups, -1)
        best_two = np.sort(grouped, axis=2)[:, :, -2:].sum(axis=2)
        kept = np.argsort(-best_two, axis=1)[:, :kept_groups]
        mask = np.ones(grouped.shape[:2], bool)
        np.put_along_axis(mask, kept, False, axis=1)
        choice = np.where(np.repeat(mask, grouped.shape[2], axis=1), -np.inf, choice)
    chosen = np.sort(np.argsort(-choice, axis=1)[:, :top_k], axis=1)
    weights = np.take_along_axis(scores, chosen, axis=1)
    if normalize:
        weights /= weights.sum(axis=1, keepdims=True) + 1e-20
    return chosen, weights * factor


def route(
    thread_pool, logits, routing, *, bias=None, n_groups=1, kept_groups=1, normalize=True, factor=1.0,
    n_row_tokens=0,
):  # fmt: skip
    """Fill a routing for router logits (n, n_experts), by the kernels."""
    tape = new_tape(thread_pool, len(logits), n_row_tokens=n_row_tokens)
    buffer = operations.float_rows(tape, routing.n_experts)
    operations.route(
        tape, buffer, routing, bias=None if bias is None else padded(bias), n_groups=n_groups,
        kept_groups=kept_groups, normalize=normalize, factor=factor,
    )  # fmt: skip
    fill(buffer, logits)
    run(tape, thread_pool)


@pytest.mark.parametrize(
    ("n_experts", "top_k", "n_groups", "kept_groups"),
    [(16, 8, 1, 1), (128, 8, 1, 1), (120, 4, 1, 1), (5, 1, 1, 1), (3, 3, 1, 1), (32, 4, 4, 2), (8, 2, 2, 1)],
)
@pytest.mark.parametrize("normalize", (False, True))
@pytest.mark.parametrize(("n_tokens", "n_row_tokens"), ((1, 1), (6, 0), (40, 7)))
def test_chooses_as_the_reference(
    thread_pool, any_isa, n_experts, top_k, n_groups, kept_groups, normalize, n_tokens, n_row_tokens
):
    rng = np.random.default_rng(n_experts)
    logits = rng.standard_normal((n_tokens, n_experts)).astype(np.float32) * 2
    bias = rng.standard_normal(n_experts).astype(np.float32) * 0.3
    routing = Routing(n_tokens, n_experts, top_k)
    route(
        thread_pool, logits, routing, bias=bias, n_groups=n_groups, kept_groups=kept_groups,
        normalize=normalize, factor=2.5, n_row_tokens=n_row_tokens,
    )  # fmt: skip
    chosen, weights = choose(logits, bias, top_k, n_groups, kept_groups, normalize, 2.5)
    np.testing.assert_array_equal(routing.chosen, chosen)
    np.testing.assert_allclose(routing.weights, weights, rtol=3e-6)
    if n_tokens > 1:
        assert_sorted(routing, chosen, n_row_tokens)


def assert_sorted(routing, chosen, n_row_tokens):
    by_expert = np.argsort(chosen.ravel(), kind="stable")
    counts = np.bincount(chosen.ravel(), minlength=routing.n_experts)
    np.testing.assert_array_equal(routing.order, by_expert)
    np.testing.assert_array_equal(routing.offsets, np.concatenate([[0], np.cumsum(counts)]))
    in_panels = np.bincount(chosen[n_row_tokens:].ravel(), minlength=routing.n_experts)
    in_panels[in_panels <= few()] = 0
    np.testing.assert_array_equal(routing.in_row_form, counts - in_panels)
    tiles = -(-in_panels // isa.current().tile)
    np.testing.assert_array_equal(routing.tile_offsets, np.concatenate([[0], np.cumsum(tiles)]))
    assert routing.tile_offsets[-1] <= routing.max_tiles(len(chosen))


def test_without_bias_the_largest_logits_win(thread_pool):
    routing = Routing(1, 6, 2)
    route(thread_pool, np.array([[0, 5, -1, 4, 2, 1]], np.float32), routing)
    assert routing.chosen.tolist() == [[1, 3]]
