"""NaN and infinities reach what is made of them: no kernel turns them into ordinary numbers."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.ops import operations
from glmq_kernels.ops.operands import Routing

from .attention_runs import Attention, Case, Sequence
from .blocks import HALF_FIELDS, random_weights
from .runs import fill, floats, new_tape, padded, run
from .test_feed_forward import Network
from .test_matmul import run_matmul
from .test_routing import route

ALL_BITS = np.array([0x7FFFFFFF], np.uint32).view(np.float32)[0]
"""The NaN with every bit set."""
SPOILT = (np.float32(np.nan), -np.float32(np.nan), ALL_BITS, np.float32(np.inf), -np.float32(np.inf))


def some_rows(n, columns):
    return np.random.default_rng(n).standard_normal((n, columns)).astype(np.float32)


@pytest.mark.parametrize("type_name", ("Q8_0", "Q4_1", "Q6_K", "F32", "F16", "BF16"))
@pytest.mark.parametrize("n_tokens", (1, 3, 6))
def test_a_product_with_a_spoilt_token(thread_pool, any_isa, type_name, n_tokens):
    weights = random_weights(np.random.default_rng(0), 40, 512, type_name)
    for value in SPOILT:
        for column in (0, 200, 511):
            x = some_rows(n_tokens, 512)
            x[n_tokens // 2, column] = value
            found = run_matmul(thread_pool, x, weights, type_name)
            assert not np.isfinite(found[n_tokens // 2]).any(), (value, column)
            assert np.isfinite(np.delete(found, n_tokens // 2, 0)).all()


@pytest.mark.parametrize("type_name", [name for name in KERNEL_TYPES if HALF_FIELDS.get(name)])
@pytest.mark.parametrize("bits", (0x7E00, 0xFFFF, 0x7C00, 0xFC00))
def test_a_product_with_a_spoilt_scale(thread_pool, any_isa, type_name, bits):
    for n_tokens in (1, 3, 6):
        weights = random_weights(np.random.default_rng(0), 40, 512, type_name)
        kind = KERNEL_TYPES[type_name]
        at = HALF_FIELDS[type_name][0] + kind.block_bytes * (512 // kind.block - 1)
        weights[7, at : at + 2] = np.array([bits], np.uint16).view(np.uint8)
        found = run_matmul(thread_pool, some_rows(n_tokens, 512), weights, type_name)
        assert not np.isfinite(found[:, 7]).any()
        assert np.isfinite(np.delete(found, 7, 1)).all()


@pytest.mark.parametrize("bits", (0x7E00, 0xFFFF, 0x7C00, 0xFC00))
@pytest.mark.parametrize("type_name", ("F16", "BF16"))
def test_a_spoilt_weight(thread_pool, any_isa, type_name, bits):
    if type_name == "BF16":
        bits = (0x7FC0, 0xFFFF, 0x7F80, 0xFF80)[(0x7E00, 0xFFFF, 0x7C00, 0xFC00).index(bits)]
    for n_tokens in (1, 3, 6):
        weights = random_weights(np.random.default_rng(0), 40, 100, type_name)
        weights[7, 2 * 99 :] = np.array([bits], np.uint16).view(np.uint8)
        found = run_matmul(thread_pool, some_rows(n_tokens, 100), weights, type_name)
        assert not np.isfinite(found[:, 7]).any()


@pytest.mark.parametrize("value", [*SPOILT, np.float32(3e38)])
@pytest.mark.parametrize("n_tokens", (1, 3))
def test_norm(thread_pool, any_isa, n_tokens, value):
    """3e38 squared is infinite: divided by the root of that everything would be 0."""
    x = some_rows(n_tokens, 100)
    x[-1, 99] = value
    tape = new_tape(thread_pool, n_tokens)
    source, out = operations.float_rows(tape, 100), operations.new_activation(tape, 100)
    operations.rms_norm(tape, source, padded(np.ones(100, np.float32)), 1e-5, out)
    fill(source, x)
    run(tape, thread_pool)
    found = floats(out.rows, n_tokens, 100)
    assert np.isnan(found[-1]).all()
    assert np.isfinite(found[:-1]).all()


class Unrotated(Case):
    """Attention whose rotary embedding changes nothing."""

    def __init__(self, cache_type="F16"):
        super().__init__(key_dim=48, value_dim=48, n_rotated=48, cache_type=cache_type)

    def angles(self, positions):
        return np.zeros((len(positions), 24))


def attention_of(thread_pool, case, q, k, v, n_past=0):
    """What the positions from `n_past` on give, evaluated after those before them."""
    sequence = Sequence(case, 0, len(q))
    sequence.q, sequence.k, sequence.v = q, k, v
    attention = Attention(thread_pool, case, len(q))
    if n_past:
        attention((sequence, n_past))
    return attention((sequence, len(q) - n_past))[0]


@pytest.mark.parametrize("cache_type", ("F16", "Q8_0"))
@pytest.mark.parametrize("part", (0, 1, 2))
@pytest.mark.parametrize("n_tokens", (1, 9))
def test_attention(thread_pool, any_isa, n_tokens, part, cache_type):
    """Of q, k or v; also with so many positions that several threads share them."""
    rng = np.random.default_rng(3)
    for value in SPOILT:
        for n_past in (0, 300):
            q, k, v = (np.zeros((n_past + n_tokens, heads * 48), np.float32) for heads in (4, 2, 2))
            for x in (q, k, v):
                x[n_past:] = rng.standard_normal((n_tokens, x.shape[1]))
            (q, k, v)[part][n_past, 17] = value
            found = attention_of(thread_pool, Unrotated(cache_type=cache_type), q, k, v, n_past)
            seen_by = found[:1] if part == 0 else found
            assert not np.isfinite(seen_by).all(axis=1).any(), (value, n_past)


@pytest.mark.parametrize("n_tokens", (1, 3, 9))
@pytest.mark.parametrize("spoilt", ("gate", "up"))
def test_gated_network(thread_pool, any_isa, n_tokens, spoilt):
    for value in SPOILT:
        network = Network(np.random.default_rng(1), 1, 64, 64, "F32", "Q8_0", spoilt={spoilt: value})
        tape = new_tape(thread_pool, n_tokens)
        source, hidden = operations.new_activation(tape, 64), operations.new_activation(tape, 64)
        out = operations.float_rows(tape, 64)
        operations.prepare_rows(tape, source)
        part = operations.Network(network.experts, hidden)
        operations.gate_up(tape, part, source, source)
        operations.down(tape, part, out=out)
        fill(source.rows, np.abs(some_rows(n_tokens, 64)))
        run(tape, thread_pool)
        found = floats(out, n_tokens, 64)
        assert not np.isfinite(found).any(), value


@pytest.mark.parametrize("n_past", (0, 300))
def test_attention_tells_scores_apart_however_low(thread_pool, any_isa, n_past):
    """All scores are about -1e33 but for the first position's, which is half of that."""
    n = n_past + 1
    rows = np.ones((n, 2 * 48), np.float32)
    k, v = -rows, rows * np.arange(1, n + 1, dtype=np.float32)[:, None]
    k[0] /= 2
    found = attention_of(thread_pool, Unrotated(), np.full((n, 4 * 48), 1e32, np.float32), k, v)
    np.testing.assert_allclose(found, 1, rtol=1e-6)


@pytest.mark.parametrize("n_tokens", (1, 9))
def test_attention_with_scores_below_all_numbers(thread_pool, any_isa, n_tokens):
    rows = np.ones((n_tokens, 2 * 48), np.float32)
    q = np.full((n_tokens, 4 * 48), 3e38, np.float32)
    assert np.isnan(attention_of(thread_pool, Unrotated(), q, -1000 * rows, rows)).all()


EXTREMES = [*SPOILT, *(np.float32(x) for x in (-3.4e38, 3.4e38, -3e38, 1e-42, 0))]


@pytest.mark.parametrize(("n_groups", "kept_groups"), ((1, 1), (4, 1), (4, 3), (8, 8), (16, 2)))
@pytest.mark.parametrize("where", ("logits", "bias"))
@pytest.mark.parametrize("n_tokens", (1, 7))
def test_a_token_gets_different_experts_whatever_the_numbers(
    thread_pool, any_isa, n_groups, kept_groups, where, n_tokens
):
    rng = np.random.default_rng(0)
    for case in range(60):
        logits = rng.standard_normal((n_tokens, 16)).astype(np.float32)
        bias = rng.standard_normal(16).astype(np.float32)
        target = logits if where == "logits" else bias
        some = rng.random(target.shape) < rng.choice((0.1, 0.5, 1.0))
        target[some] = rng.choice(EXTREMES, some.sum())
        top_k = int(rng.integers(1, 17))
        routing = Routing(n_tokens, 16, top_k)
        route(thread_pool, logits, routing, bias=bias, n_groups=n_groups, kept_groups=kept_groups)
        assert all(len(set(row)) == top_k for row in routing.chosen.tolist()), case
        assert routing.chosen.min() >= 0 and routing.chosen.max() < 16
        finite = (
            np.isfinite(logits + bias).all(axis=1) if where == "bias" else np.isfinite(logits).all(axis=1)
        )
        assert np.isfinite(routing.weights[finite]).all()
        assert np.isnan(routing.weights[~finite]).all()
