"""One layer's attention of any mix of sequences, by the kernels and in plain float64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of, zeros
from glmq_kernels.ops import operations
from glmq_kernels.ops.attention.cache_layout import CacheShape, types_of
from glmq_kernels.ops.batch_state import N_ROW_TOKENS, N_TOKENS, PAGE_TABLES, POSITIONS
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


def norm(x, weight, count):
    """The first `count` dimensions normed."""
    out, first = x.copy(), x[..., :count]
    out[..., :count] = first / np.sqrt((first**2).mean(axis=-1, keepdims=True) + 1e-5) * weight[:count]
    return out


def single(x):
    return x.astype(np.float32).astype(np.float64)


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


def four_bits(x, block):
    """What a Q4_0 cache keeps of (n, heads, head_dim), multiplied back by the Hadamard matrix of `block`.

    That is steps from -8 to 7 times a float16 scale for each 32 dimensions.
    """
    blocks = x.reshape(*x.shape[:-1], -1, block)
    matrix = reduce(np.kron, [np.array([[1, 1], [1, -1]]) / np.sqrt(2)] * int(np.log2(block)))
    turned = (blocks @ matrix).reshape(x.shape)
    kept = np.empty_like(turned)
    for d in range(0, x.shape[-1], 32):
        part = turned[..., d : d + 32]
        largest = np.take_along_axis(part, np.abs(part).argmax(axis=-1, keepdims=True), -1)
        scale = (largest / -8).astype(np.float32)
        kept[..., d : d + 32] = np.clip(np.rint(part / scale), -8, 7) * half(scale)
    return (kept.reshape(blocks.shape) @ matrix).reshape(x.shape)


KEPT = {"F32": single, "F16": half, "Q8_0": eight_bits}
TOLERANCE = {"F32": 2e-5, "F16": 2e-3, "Q8_0": 2e-3, "Q4_0": 2e-3}


def check(rows, expected, cache_type):
    """Compare outputs of any tokens. In few bits a number may have been rounded to either of two steps."""
    tolerance = max(TOLERANCE[kept_as] for kept_as in types_of(cache_type))
    if "Q" in cache_type:
        assert np.sqrt(np.square(rows - expected).mean()) < 2 * tolerance
        tolerance = 0.5 if "Q4" in cache_type else 0.05
    np.testing.assert_allclose(rows, expected, atol=tolerance, rtol=tolerance)


@dataclass(frozen=True)
class Case:
    """Sizes of one layer's attention."""

    n_heads: int = 4
    n_kv_heads: int = 2
    key_dim: int = 32
    value_dim: int = 32
    in_keys: bool = False
    cache_type: str = "F16"
    n_rotated: int = 16
    rotated_from: int = 0
    interleaved: bool = False
    norms: bool = False
    n_normed: int | None = None  # dimensions of a head, all by default

    @property
    def shape(self):
        return CacheShape(2, self.n_kv_heads, self.key_dim, self.value_dim, self.in_keys, self.cache_type)

    @property
    def weights(self):
        rng = np.random.default_rng(self.key_dim)
        return [rng.standard_normal(self.key_dim).astype(np.float32) if self.norms else None for _ in "qk"]

    def angles(self, positions):
        return np.outer(positions, 100.0 ** -np.linspace(0, 1, self.n_rotated // 2))


class Sequence:
    """A sequence's tokens, with its pages scattered in memory, and its attention in float64.

    Each page is memory of its own and begins as numbers that are not finite where nothing was stored.
    """

    def __init__(self, case, seed, n_positions):
        self.case, self.length = case, 0
        rng = np.random.default_rng(seed)
        self.q, self.k, self.v = (
            rng.standard_normal((n_positions, heads * size)).astype(np.float32) * factor
            for heads, size, factor in (
                (case.n_heads, case.key_dim, 2),
                (case.n_kv_heads, case.key_dim, 1),
                (case.n_kv_heads, case.value_dim, 1),
            )
        )
        self.pages = [aligned_zeros(case.shape.page_bytes) for _ in range(case.shape.n_pages(n_positions))]
        for page in self.pages:
            page[:] = 0xFF
        self.page_table = copy_of([address_of(page) for page in self.pages], np.int64)

    def expected(self, first=0):
        """The outputs of all positions from `first` on, float64 (n, n_heads * value_dim)."""
        case, n = self.case, len(self.q)
        q, k, v = (
            x.astype(np.float64).reshape(n, -1, d)
            for x, d in ((self.q, case.key_dim), (self.k, case.key_dim), (self.v, case.value_dim))
        )
        if case.norms:
            q, k = (
                norm(x, weight, case.n_normed or case.key_dim)
                for x, weight in zip((q, k), case.weights, strict=True)
            )
        angles, turned = case.angles(np.arange(n)), np.s_[..., case.rotated_from :]
        for x in q, k:
            x[turned] = rotate(x[turned], angles, case.interleaved)
        keys, values = (
            four_bits(x, block) if kept_as == "Q4_0" else KEPT[kept_as](x)
            for x, kept_as, block in zip(
                (k, v), types_of(case.cache_type), (case.shape.key_block, case.shape.value_block), strict=True
            )
        )
        values = keys[..., : case.value_dim] if case.in_keys else values
        out = np.empty((n - first, case.n_heads, case.value_dim))
        for head in range(case.n_heads):
            kv = head // (case.n_heads // case.n_kv_heads)
            scores = q[first:, head] @ keys[:, kv].T / np.sqrt(case.key_dim)
            scores[np.triu_indices(n - first, first + 1, n)] = -np.inf
            weights = np.exp(scores - scores.max(axis=1, keepdims=True))
            out[:, head] = weights @ values[:, kv] / weights.sum(axis=1, keepdims=True)
        return out.reshape(n - first, -1)


class Attention:
    """Runs the kernels on any mix of sequences."""

    def __init__(self, thread_pool, case, max_tokens, in_panels=False):
        self.thread_pool, self.case = thread_pool, case
        self.tape = tape = Tape(max_tokens, thread_pool.n_threads)
        self.q, self.k, self.v, self.cosines, self.sines = self.buffers = [
            operations.float_rows(tape, columns)
            for columns in (
                case.n_heads * case.key_dim,
                case.n_kv_heads * case.key_dim,
                case.n_kv_heads * case.value_dim,
                case.n_rotated // 2,
                case.n_rotated // 2,
            )
        ]
        self.out = operations.new_activation(tape, case.n_heads * case.value_dim)
        self.planner = operations.attention_planner(tape, case.shape, case.n_heads)
        self.planner.in_panels = in_panels
        q_norm, k_norm = (None if weight is None else padded(weight) for weight in case.weights)
        operations.rotate_and_store(
            tape, self.q, self.k, None if case.in_keys else self.v, n_heads=case.n_heads, shape=case.shape,
            layer=1, n_rotated=case.n_rotated, query_rotated_from=case.rotated_from,
            key_rotated_from=case.rotated_from, interleaved=case.interleaved,
            cosines=self.cosines, sines=self.sines, q_norm=q_norm, k_norm=k_norm, n_normed=case.n_normed,
            epsilon=1e-5, scale=1 / np.sqrt(case.key_dim),
        )  # fmt: skip
        operations.attend(tape, self.q, self.out, self.planner, 1)
        tape.finish()
        self.positions, self.page_tables = (zeros(max_tokens, np.int64) for _ in range(2))

    def __call__(self, *segments, n_row_tokens=0):
        """Evaluate the next so many tokens of each sequence; gives the outputs of each."""
        sizes = [count for _, count in segments]
        n, places = sum(sizes), [range(s.length, s.length + count) for s, count in segments]
        positions = np.concatenate(places)
        rows = [
            np.concatenate([x[place] for (s, _), place in zip(segments, places, strict=True)
                            for x in [getattr(s, name)]])
            for name in "qkv"
        ]  # fmt: skip
        angles = self.case.angles(positions)
        turned = [np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)]
        for memory, values in zip(self.buffers, rows + turned, strict=True):
            fill(memory, values)
        state = self.tape.state
        self.positions[:n] = positions
        self.page_tables[:n] = np.repeat([address_of(s.page_table) for s, _ in segments], sizes)
        state[N_TOKENS], state[N_ROW_TOKENS] = n, n_row_tokens
        state[POSITIONS], state[PAGE_TABLES] = address_of(self.positions), address_of(self.page_tables)
        self.planner.plan(state, self.positions[:n], self.page_tables[:n])
        self.tape.run(self.thread_pool)
        for s, count in segments:
            s.length += count
        out = floats(self.out.rows, n, self.case.n_heads * self.case.value_dim).copy()
        return np.split(out, np.cumsum(sizes)[:-1])
