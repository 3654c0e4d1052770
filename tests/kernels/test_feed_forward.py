"""Gated networks, dense and routed, against float64 with the activations quantized as the kernels do."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.ops import operations
from glmq_kernels.ops.operands import Experts, Routing, matrix_of

from .blocks import dequantized, quantized_activation, random_weights
from .runs import fill, floats, new_tape, run


class Network:
    """Random gate, up and down matrices of some experts.

    spoilt: a value in the first's, by name. exact: whether activations are not rounded to 8 bits.
    """

    def __init__(
        self, rng, n_experts, columns, width, type_name, down_type, up_type=None, spoilt=(), exact=False
    ):
        self.exact = exact
        self.types = (type_name, up_type or type_name, down_type)
        shapes = ((width, columns), (width, columns), (columns, width))
        self.bytes = [
            [random_weights(rng, *shape, kind) for _ in range(n_experts)]
            for shape, kind in zip(shapes, self.types, strict=True)
        ]
        for name in spoilt:
            self.bytes[("gate", "up", "down").index(name)][0].view(np.float32)[5, 6] = spoilt[name]
        self.experts = Experts(
            *(
                [matrix_of(data, *shape, kind) for data in stack]
                for stack, shape, kind in zip(self.bytes, shapes, self.types, strict=True)
            )
        )

    def __call__(self, expert, x):
        gate, up, down = (
            dequantized(stack[expert], kind) for stack, kind in zip(self.bytes, self.types, strict=True)
        )
        g = self._seen_by(x, self.types[0]) @ gate.T
        hidden = g / (1 + np.exp(-g)) * (self._seen_by(x, self.types[1]) @ up.T)
        return self._seen_by(hidden.astype(np.float32), self.types[2]) @ down.T

    def _seen_by(self, x, type_name):
        exact = self.exact or KERNEL_TYPES[type_name].is_float
        return x.astype(np.float64) if exact else quantized_activation(x)


def assert_close(actual, expected):
    # A rounding difference may move an int8 of the hidden activation by one step.
    np.testing.assert_allclose(actual, expected, atol=2e-3 * np.abs(expected).max(), rtol=0)
    assert np.linalg.norm(actual - expected) < 5e-4 * np.linalg.norm(expected)


TYPES = [
    ("F32", "F32"),
    ("Q8_0", "Q8_0"),
    ("Q4_0", "Q4_0"),
    ("Q4_0", "Q8_0"),
    ("F16", "Q4_1"),
    ("Q4_1", "F32"),
]


@pytest.mark.parametrize(("type_name", "down_type"), TYPES)
@pytest.mark.parametrize("n_tokens", (1, 2, 20))
def test_dense(thread_pool, n_tokens, type_name, down_type):
    rng = np.random.default_rng(n_tokens)
    network = Network(rng, 1, 96, 160, type_name, down_type)
    x = rng.standard_normal((n_tokens, 96)).astype(np.float32)
    start = rng.standard_normal((n_tokens, 96)).astype(np.float32)
    tape = new_tape(thread_pool, n_tokens)
    source, hidden = operations.new_activation(tape, 96), operations.new_activation(tape, 160)
    out = operations.float_rows(tape, 96)
    operations.prepare_rows(tape, source)
    part = operations.Network(network.experts, hidden)
    operations.gate_up(tape, part, source, source)
    operations.down(tape, part, out=out)
    fill(source.rows, x)
    fill(out, start)
    run(tape, thread_pool)
    assert_close(floats(out, n_tokens, 96), start + network(0, x))


@pytest.mark.parametrize("width", (64, 100))
@pytest.mark.parametrize("n_tokens", (1, 3, 50))
def test_routed(thread_pool, any_isa, n_tokens, width):
    check_routed(thread_pool, n_tokens, width, "F32" if width % 32 else "Q8_0", n_experts=7, top_k=3)


@pytest.mark.parametrize(("type_name", "down_type"), TYPES)
@pytest.mark.parametrize("n_tokens", (1, 30))
def test_routed_with_every_kind_of_type(thread_pool, n_tokens, type_name, down_type):
    check_routed(thread_pool, n_tokens, 64, type_name, down_type=down_type, n_experts=5, top_k=2)


@pytest.mark.parametrize("n_tokens", (1, 4, 30))
@pytest.mark.parametrize(("gate_type", "up_type"), (("Q4_K", "Q6_K"), ("F16", "Q5_K"), ("IQ3_S", "F32")))
def test_gate_and_up_of_different_types(thread_pool, n_tokens, gate_type, up_type):
    """As in files that mix types by tensor."""
    check_routed(
        thread_pool,
        n_tokens,
        64,
        gate_type,
        up_type=up_type,
        down_type="Q8_0",
        n_experts=5,
        top_k=2,
        columns=256,
    )


@pytest.mark.parametrize("n_tokens", (1, 4, 30))
@pytest.mark.parametrize("type_name", ("Q4_1", "Q8_0", "F16"))
def test_routed_with_float_activations(thread_pool, n_tokens, type_name):
    check_routed(
        thread_pool, n_tokens, 64, type_name, down_type="Q4_1", n_experts=5, top_k=2, activations="f32"
    )


@pytest.mark.parametrize("activations", ("int8", "f32"))
@pytest.mark.parametrize("n_experts", (2, 9))
def test_tokens_of_both_forms_side_by_side(thread_pool, n_experts, activations):
    """Whatever stands beside it, a token of the row form has the bits that it has alone."""
    rng = np.random.default_rng(n_experts)
    most = 9 * n_experts + 20
    layer = Layer(rng, thread_pool, most, n_experts, activations)
    alone = np.concatenate([layer([t], 1) for t in range(20)])
    for n, n_row_tokens in ((1, 0), (2, 1), (3, 3), (8, 8), (12, 5), (20, 20), (most, 0), (most, 17)):
        found = layer(range(n), n_row_tokens)
        np.testing.assert_array_equal(found[:n_row_tokens], alone[:n_row_tokens])
        assert_close(found, layer.expected[:n])


class Layer:
    """A dense and a routed network, added to `start`, for tokens of which there are `most`."""

    def __init__(self, rng, thread_pool, most, n_experts, activations):
        exact, columns, width, top_k = activations == "f32", 96, 64, 2
        self.dense = Network(rng, 1, columns, width, "Q4_0", "Q8_0", exact=exact)
        self.routed = Network(rng, n_experts, columns, width, "Q4_1", "Q4_0", exact=exact)
        self.x, self.start = (rng.standard_normal((most, columns)).astype(np.float32) for _ in range(2))
        self.chosen = np.sort([rng.permutation(n_experts)[:top_k] for _ in range(most)])
        self.weights = rng.random((most, top_k)).astype(np.float32)
        self.thread_pool, self.activations, self.n_experts = thread_pool, activations, n_experts
        self.expected = self.start + self.dense(0, self.x)
        for expert in range(n_experts):
            here = (self.weights * (self.chosen == expert)).sum(axis=1, keepdims=True)
            self.expected += here * self.routed(expert, self.x)

    def __call__(self, tokens, n_row_tokens):
        tokens = list(tokens)
        n = len(tokens)
        tape = new_tape(self.thread_pool, n, self.activations, n_row_tokens)
        routing = Routing(n, self.n_experts, 2)
        source, shared = operations.new_activation(tape, 96), operations.new_activation(tape, 64)
        gathered = operations.new_gathered(tape, 96, routing)
        hidden = operations.new_chosen(tape, 64, routing)
        out = operations.float_rows(tape, 96)
        networks = (
            operations.Network(self.dense.experts, shared),
            operations.Network(self.routed.experts, hidden, routing),
        )
        operations.prepare_rows(tape, source)
        operations.dispatch(tape, routing)
        operations.gather_tiles(tape, source, gathered, routing)
        operations.gate_up(tape, networks[0], source, source, barrier=False)
        operations.gate_up(tape, networks[1], source, gathered)
        operations.down(tape, *networks, out=out)
        fill(source.rows, self.x[tokens])
        fill(out, self.start[tokens])
        routing.chosen[:], routing.weights[:] = self.chosen[tokens], self.weights[tokens]
        run(tape, self.thread_pool)
        return floats(out, n, 96).copy()


def test_all_tokens_on_one_expert(thread_pool):
    check_routed(thread_pool, 40, 64, "Q4_0", n_experts=9, top_k=1, favourite=4)


def check_routed(
    thread_pool, n_tokens, width, type_name, *, n_experts, top_k, down_type=None, up_type=None,
    favourite=None, columns=96, activations="int8", n_row_tokens=0,
):  # fmt: skip
    rng = np.random.default_rng(n_tokens + width)
    exact = activations == "f32"
    network = Network(rng, n_experts, columns, width, type_name, down_type or type_name, up_type, exact=exact)
    x = rng.standard_normal((n_tokens, columns)).astype(np.float32)
    tape = new_tape(thread_pool, n_tokens, activations, n_row_tokens)
    routing = Routing(n_tokens, n_experts, top_k)
    source = operations.new_activation(tape, columns)
    gathered = operations.new_gathered(tape, columns, routing)
    hidden = operations.new_chosen(tape, width, routing)
    out = operations.float_rows(tape, columns)
    operations.prepare_rows(tape, source)
    operations.dispatch(tape, routing)
    operations.gather_tiles(tape, source, gathered, routing)
    part = operations.Network(network.experts, hidden, routing)
    operations.gate_up(tape, part, source, gathered)
    operations.down(tape, part, out=out)
    fill(source.rows, x)
    for t in range(n_tokens):
        routing.chosen[t] = np.sort(rng.permutation(n_experts)[:top_k])
    if favourite is not None:
        routing.chosen[:] = favourite
    routing.weights[:] = rng.random((n_tokens, top_k))
    run(tape, thread_pool)
    expected = np.zeros((n_tokens, columns))
    for expert in range(n_experts):
        here = routing.chosen == expert
        expected += network(expert, x) * (routing.weights * here).sum(axis=1, keepdims=True)
    assert_close(floats(out, n_tokens, columns), expected)
