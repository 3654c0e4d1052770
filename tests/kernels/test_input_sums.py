"""Sums of what matrices meet: squares of the rows of products, by matrix and column, and their number."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_part import OUTPUTS_ONLY
from glmq_kernels.ops.batch_state import N_OUTPUTS, N_ROW_OUTPUTS
from glmq_kernels.ops.operands import Experts, matrix_of

from .blocks import random_weights
from .runs import fill, new_tape, run

COLUMNS, WIDTH = 160, 100
"""One whole run of columns and a rest; rests alone."""


def observed(rng, rows, columns, name=""):
    return matrix_of(random_weights(rng, rows, columns, "F32"), rows, columns, "F32", name)


def squares(rows):
    """Sums by column in float64."""
    return (rows.astype(np.float64) ** 2).sum(0)


def only(tape, *names):
    """The sums of the tensors of these names, which are the only ones."""
    assert [found.names for found in tape.input_sums] == [*names]
    return tape.input_sums


@pytest.mark.parametrize("n_tokens", (1, 2, 37))
def test_matrices_that_share_an_input_share_its_sums(thread_pool, n_tokens):
    rng = np.random.default_rng(0)
    tape = new_tape(thread_pool, n_tokens)
    source, out = operations.new_activation(tape, COLUMNS), operations.float_rows(tape, 20)
    projections = [operations.Projection(observed(rng, 20, COLUMNS, name), out) for name in ("q", "", "v")]
    operations.prepare_rows(tape, source)
    operations.matmul(tape, source, *projections)
    x = rng.standard_normal((n_tokens, COLUMNS)).astype(np.float32)
    fill(source.rows, x)
    run(tape, thread_pool)
    (found,) = only(tape, ("q", "v"))
    np.testing.assert_allclose(found.sums, squares(x)[None], rtol=1e-5)
    assert found.counts.tolist() == [n_tokens]
    tape.run(thread_pool)
    np.testing.assert_allclose(found.sums, 2 * squares(x)[None], rtol=1e-5)
    assert found.counts.tolist() == [2 * n_tokens]


def test_nothing_is_added_to_a_tape_that_nobody_observes(thread_pool):
    rng = np.random.default_rng(0)
    tape = new_tape(thread_pool, 2)
    source, out = operations.new_activation(tape, COLUMNS), operations.float_rows(tape, 20)
    operations.matmul(tape, source, operations.Projection(observed(rng, 20, COLUMNS), out))
    assert not tape.input_sums
    assert not [name for name in tape.kernel_names() if "input_sums" in name]


def test_only_as_many_rows_as_there_are_outputs(thread_pool):
    rng = np.random.default_rng(1)
    tape = new_tape(thread_pool, 9)
    tape.state[N_OUTPUTS], tape.state[N_ROW_OUTPUTS] = 4, 0
    source, out = operations.new_activation(tape, COLUMNS), operations.float_rows(tape, 20)
    projection = operations.Projection(observed(rng, 20, COLUMNS, "q"), out)
    operations.matmul(tape, source, projection, part=OUTPUTS_ONLY)
    x = rng.standard_normal((9, COLUMNS)).astype(np.float32)
    fill(source.rows, x)
    run(tape, thread_pool)
    (found,) = only(tape, ("q",))
    np.testing.assert_allclose(found.sums, squares(x[:4])[None], rtol=1e-5)
    assert found.counts.tolist() == [4]


@pytest.mark.parametrize("n_tokens", (1, 20))
def test_each_head_has_its_own(thread_pool, n_tokens):
    rng, n_heads = np.random.default_rng(2), 3
    tape = new_tape(thread_pool, n_tokens)
    source, out = operations.float_rows(tape, n_heads * 96), operations.float_rows(tape, n_heads * 20)
    heads = operations.new_heads(tape, n_heads, 96)
    matrix = matrix_of(random_weights(rng, n_heads * 20, 96, "F32"), 20, 96, "F32", "k_b")
    operations.gather_heads(tape, source, heads, n_heads=n_heads, source_columns=96)
    operations.multiply_heads(
        tape, heads, operations.HeadMatrices(matrix, n_heads, 20 * 96 * 4), out, out_columns=20
    )
    x = rng.standard_normal((n_tokens, n_heads, 96)).astype(np.float32)
    fill(source, x)
    run(tape, thread_pool)
    (found,) = only(tape, ("k_b",))
    np.testing.assert_allclose(found.sums, squares(x), rtol=1e-5)
    assert found.counts.tolist() == [n_tokens] * n_heads


class RoutedLayer:
    """A shared expert beside routed ones, as expert layers have them, with what it gave."""

    def __init__(self, thread_pool, n_tokens, n_experts=6, top_k=2):
        rng = np.random.default_rng(n_tokens)
        self.pool, self.tape = thread_pool, new_tape(thread_pool, n_tokens)
        tape = self.tape
        self.routing = operations.new_routing(tape, n_experts, top_k)
        logits = operations.float_rows(tape, n_experts)
        self.source = operations.new_activation(tape, COLUMNS)
        gathered = operations.new_gathered(tape, COLUMNS, self.routing)
        self.hidden, shared_hidden = (
            operations.new_chosen(tape, WIDTH, self.routing),
            operations.new_activation(tape, WIDTH),
        )
        routed = operations.Network(self._experts(rng, n_experts, "exps"), self.hidden, self.routing)
        shared = operations.Network(self._experts(rng, 1, "shexp"), shared_hidden)
        out = operations.float_rows(tape, COLUMNS)
        operations.prepare_rows(tape, self.source)
        operations.route(
            tape, logits, self.routing, bias=None, n_groups=1, kept_groups=1, normalize=True, factor=1.0
        )
        operations.gather_tiles(tape, self.source, gathered, self.routing)
        tape.section("shared")
        operations.gate_up(tape, shared, self.source, self.source, barrier=False)
        tape.section("gate_up")
        operations.gate_up(tape, routed, self.source, gathered)
        tape.section("down")
        operations.down(tape, shared, routed, out=out)
        self.x = rng.standard_normal((n_tokens, COLUMNS)).astype(np.float32)
        fill(self.source.rows, self.x)
        fill(logits, rng.standard_normal((n_tokens, n_experts)).astype(np.float32))
        tape.finish()

    @staticmethod
    def _experts(rng, n, suffix):
        shapes = {"gate": (WIDTH, COLUMNS), "up": (WIDTH, COLUMNS), "down": (COLUMNS, WIDTH)}
        return Experts(
            *([observed(rng, *shape, f"{name}_{suffix}") for _ in range(n)] for name, shape in shapes.items())
        )

    def check(self):
        """All sums against what the routing says."""
        gates, downs = {}, {}
        hidden = self.hidden.rows.view(np.float32).reshape(-1, WIDTH)
        chosen = [(e, t) for t, experts in enumerate(self.routing.chosen.tolist()) for e in experts]
        for place, (expert, token) in enumerate(sorted(chosen)):
            gates.setdefault(expert, []).append(self.x[token])
            downs.setdefault(expert, []).append(hidden[place])
        shared_in, routed_in, shared_down, routed_down = only(
            self.tape, ("gate_shexp", "up_shexp"), ("gate_exps", "up_exps"), ("down_shexp",), ("down_exps",)
        )
        assert shared_in.counts.tolist() == shared_down.counts.tolist() == [len(self.x)]
        assert (shared_in.by_expert, routed_in.by_expert) == (False, True)
        np.testing.assert_allclose(shared_in.sums, squares(self.x)[None], rtol=1e-5)
        for found, rows in ((routed_in, gates), (routed_down, downs)):
            for expert in range(self.routing.n_experts):
                assert found.counts[expert] == len(rows.get(expert, []))
                expected = squares(np.array(rows[expert])) if expert in rows else 0
                np.testing.assert_allclose(
                    found.sums[expert], np.broadcast_to(expected, found.sums[expert].shape), rtol=1e-5
                )


@pytest.mark.parametrize("n_tokens", (1, 2, 40))
def test_each_expert_has_the_rows_of_its_tokens(thread_pool, n_tokens):
    layer = RoutedLayer(thread_pool, n_tokens)
    layer.tape.run(thread_pool)
    layer.check()


def test_experts_that_are_run_in_groups_are_counted_once(thread_pool):
    layer = RoutedLayer(thread_pool, 40)
    layer.tape.run(thread_pool, None, "gate_up")
    for experts in (range(0, 2), range(2, 5), range(5, 6)):
        layer.routing.select_experts(experts)
        layer.tape.run(thread_pool, "gate_up")
    layer.check()


def test_choices_of_one_token_that_come_one_after_the_other_are_counted_once(thread_pool):
    layer = RoutedLayer(thread_pool, 1)
    layer.tape.run(thread_pool, None, "gate_up")
    for choice in (1, 0):
        layer.routing.select_choices([choice])
        layer.tape.run_section(thread_pool, "gate_up")
    layer.routing.select_all()
    layer.tape.run(thread_pool, "down")
    layer.check()
