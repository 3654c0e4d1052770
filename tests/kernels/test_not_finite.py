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


@pytest.mark.parametrize("cache_type", ("F16", "Q8_0"))
@pytest.mark.parametrize("part", (0, 1, 2))
@pytest.mark.parametrize("n_tokens", (1, 9))
def test_attention(thread_pool, any_isa, n_tokens, part, cache_type):
    """Of q, k or v; also with so many positions that several threads share them."""
    case = Case(n_heads=4, n_kv_heads=1, key_dim=48, value_dim=48, cache_type=cache_type)
    attention = Attention(thread_pool, case, n_tokens)
    for value in SPOILT:
        for n_past in (0, 600):
            sequence = sequence_behind(case, n_past, n_tokens)
            (sequence.q, sequence.k, sequence.v)[part][n_past, 17] = value
            found = attention((sequence, n_tokens))[0]
            seen_by = found[:1] if part == 0 else found
            assert not np.isfinite(seen_by).all(axis=1).any(), (value, n_past)


def sequence_behind(case, n_past, n_tokens):
    """A sequence whose first keys and values are 0 and count as stored."""
    sequence = Sequence(case, 3, n_past + n_tokens)
    for page in sequence.pages:
        page[:] = 0
    sequence.length = n_past
    return sequence


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


UNTURNED = Case(n_heads=4, n_kv_heads=1, key_dim=48, value_dim=48, n_rotated=0)


@pytest.mark.parametrize("n_past", (0, 600))
def test_attention_tells_scores_apart_however_low(thread_pool, any_isa, n_past):
    """All scores are about -1e33 but for the first position's, which is half of that."""
    n = n_past + 1
    sequence = sequence_behind(UNTURNED, 0, n)
    sequence.q[:], sequence.k[:] = 1e32, -1
    sequence.k[0] /= 2
    sequence.v[:] = np.arange(1, n + 1)[:, None]
    attention = Attention(thread_pool, UNTURNED, n)
    found = [attention((sequence, size))[0] for size in (n_past, 1) if size]
    np.testing.assert_allclose(np.concatenate(found), 1, rtol=1e-6)


@pytest.mark.parametrize("n_tokens", (1, 9))
def test_attention_with_scores_below_all_numbers(thread_pool, any_isa, n_tokens):
    sequence = sequence_behind(UNTURNED, 0, n_tokens)
    sequence.q[:], sequence.k[:], sequence.v[:] = 3e38, -1000, 1
    assert np.isnan(Attention(thread_pool, UNTURNED, n_tokens)((sequence, n_tokens))[0]).all()


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
