"""Rotation, the KV cache and attention, against the same in plain float64."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.arrays import address_of, aligned_zeros
from glmq_kernels.ops import operations
from glmq_kernels.ops.attention.cache_layout import position_bytes
from glmq_kernels.ops.batch_state import CAPACITY, KEYS, N_PAST, N_TOKENS, VALUES
from glmq_kernels.threads.tape import Tape

from .runs import fill, floats, padded


def rotate(x, angles, interleaved):
    """x (n, heads, head_dim), angles (n, rotated / 2)."""
    half = angles.shape[1]
    c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
    out = x.copy()
    first = np.s_[..., 0 : 2 * half : 2] if interleaved else np.s_[..., :half]
    second = np.s_[..., 1 : 2 * half : 2] if interleaved else np.s_[..., half : 2 * half]
    out[first] = x[first] * c - x[second] * s
    out[second] = x[second] * c + x[first] * s
    return out


def norm(x, weight):
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-5) * weight


def half(x):
    return x.astype(np.float16).astype(np.float64)


def eight_bits(x):
    """What a Q8_0 cache keeps of (n, heads, head_dim): int8 with a float16 scale for each 32 dimensions."""
    kept = np.empty_like(x)
    for d in range(0, x.shape[-1], 32):
        part = x[..., d : d + 32]
        scale = (np.abs(part).max(axis=-1, keepdims=True) / 127).astype(np.float32)
        kept[..., d : d + 32] = np.rint(part / scale) * half(scale)
    return kept


class Reference:
    """Attention of one layer with a cache of everything so far, in float64 over float16 keys and values."""

    def __init__(self, n_heads, n_kv_heads, head_dim, n_rotated, interleaved, q_norm, k_norm, cache_type):
        self.__dict__.update(locals())
        self.keys = np.zeros((0, n_kv_heads, head_dim))
        self.values = np.zeros((0, n_kv_heads, head_dim))

    def __call__(self, q, k, v, angles):
        n, d = len(q), self.head_dim
        q, k, v = (x.astype(np.float64).reshape(n, -1, d) for x in (q, k, v))
        if self.q_norm is not None:
            q, k = norm(q, self.q_norm), norm(k, self.k_norm)
        q, k = rotate(q, angles, self.interleaved), rotate(k, angles, self.interleaved)
        kept = half if self.cache_type == "F16" else eight_bits
        self.keys = np.concatenate([self.keys, kept(k)])
        self.values = np.concatenate([self.values, kept(v)])
        past = len(self.keys) - n
        out = np.empty((n, self.n_heads, d))
        for t in range(n):
            for head in range(self.n_heads):
                kv = head // (self.n_heads // self.n_kv_heads)
                scores = self.keys[: past + t + 1, kv] @ q[t, head] / np.sqrt(d)
                weights = np.exp(scores - scores.max())
                out[t, head] = weights @ self.values[: past + t + 1, kv] / weights.sum()
        return out.reshape(n, -1)


class Attention:
    """The same by the kernels."""

    def __init__(self, thread_pool, reference, capacity, cache_layer=1):
        self.thread_pool, self.reference = thread_pool, reference
        r = reference
        size = position_bytes(r.cache_type, r.head_dim) * capacity * r.n_kv_heads * (cache_layer + 1)
        self.keys, self.values = aligned_zeros(size), aligned_zeros(size)
        self.keys[:], self.values[:] = 0x7B, 0x7B
        self.capacity, self.cache_layer, self.n_past = capacity, cache_layer, 0

    def __call__(self, q, k, v, angles):
        r, n = self.reference, len(q)
        tape = Tape(n, self.thread_pool.n_threads)
        buffers = [operations.float_rows(tape, x.shape[1]) for x in (q, k, v)]
        cosines, sines = (operations.float_rows(tape, angles.shape[1]) for _ in range(2))
        out = operations.new_activation(tape, r.n_heads * r.head_dim)
        operations.rotate_and_store(
            tape, *buffers, n_heads=r.n_heads, n_kv_heads=r.n_kv_heads, head_dim=r.head_dim,
            n_rotated=2 * angles.shape[1], interleaved=r.interleaved, cosines=cosines, sines=sines,
            q_norm=None if r.q_norm is None else padded(r.q_norm),
            k_norm=None if r.k_norm is None else padded(r.k_norm), epsilon=1e-5, cache_layer=self.cache_layer,
            cache_type=r.cache_type,
        )  # fmt: skip
        operations.attend(
            tape, buffers[0], out, n_heads=r.n_heads, n_kv_heads=r.n_kv_heads, head_dim=r.head_dim,
            cache_layer=self.cache_layer, cache_type=r.cache_type,
        )  # fmt: skip
        tape.finish()
        for memory, values in zip(
            [*buffers, cosines, sines],
            [q, k, v, np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)],
            strict=True,
        ):
            fill(memory, values)
        tape.state[N_TOKENS], tape.state[N_PAST], tape.state[CAPACITY] = n, self.n_past, self.capacity
        tape.state[KEYS], tape.state[VALUES] = address_of(self.keys), address_of(self.values)
        tape.run(self.thread_pool)
        self.n_past += n
        return floats(out.rows, n, r.n_heads * r.head_dim)


def compare(
    thread_pool, batches, *, n_heads=4, n_kv_heads=2, head_dim=32, n_rotated=16, interleaved=False,
    norms=False, cache_type="F16",
):  # fmt: skip
    rng = np.random.default_rng(head_dim + n_heads)
    weights = [rng.standard_normal(head_dim).astype(np.float32) if norms else None for _ in range(2)]
    reference = Reference(n_heads, n_kv_heads, head_dim, n_rotated, interleaved, *weights, cache_type)
    kernels = Attention(thread_pool, reference, capacity=-(-sum(batches) // 32) * 32)
    position = 0
    for n in batches:
        q = rng.standard_normal((n, n_heads * head_dim)).astype(np.float32) * 2
        k, v = rng.standard_normal((2, n, n_kv_heads * head_dim)).astype(np.float32)
        angles = np.outer(np.arange(position, position + n), 100.0 ** -np.linspace(0, 1, n_rotated // 2))
        np.testing.assert_allclose(kernels(q, k, v, angles), reference(q, k, v, angles), atol=2e-3, rtol=2e-3)
        position += n


@pytest.mark.parametrize("batches", ([1] * 20, [17, 1, 1, 3], [70, 1], [5, 64, 1, 2]))
def test_prompts_and_single_tokens(thread_pool, any_isa, batches):
    compare(thread_pool, batches)


@pytest.mark.parametrize("batches", ([1] * 20, [70, 1, 3]))
@pytest.mark.parametrize("head_dim", (32, 80, 128))
def test_a_cache_of_eight_bits(thread_pool, any_isa, batches, head_dim):
    compare(thread_pool, batches, head_dim=head_dim, cache_type="Q8_0")


@pytest.mark.parametrize("heads", ((1, 1), (3, 1), (9, 3), (12, 1), (24, 1), (8, 8), (96, 8)))
def test_any_number_of_query_heads_per_key(thread_pool, heads):
    compare(thread_pool, [19, 1, 2], n_heads=heads[0], n_kv_heads=heads[1], head_dim=16)


@pytest.mark.parametrize("head_dim", (16, 48, 80, 128))
@pytest.mark.parametrize("norms", (False, True))
def test_any_head_size_with_and_without_norms(thread_pool, head_dim, norms):
    compare(thread_pool, [6, 1, 4], head_dim=head_dim, n_rotated=head_dim, norms=norms)


def test_neighbouring_pairs_rotate_for_llama(thread_pool):
    compare(thread_pool, [5, 1], interleaved=True, n_rotated=32)


@pytest.mark.parametrize("n_heads", (3, 9))
def test_long_contexts_are_split_over_the_threads(thread_pool, n_heads):
    compare(thread_pool, [300, 1, 1, 3], n_heads=n_heads, n_kv_heads=n_heads // 3, head_dim=16, n_rotated=16)
