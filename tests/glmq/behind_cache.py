"""What a `glm4moe` model gives for tokens behind the keys and values of its cache, in plain float64.

Attention takes all keys and values, the token's own too, out of the pages as they are; everything else is
worked out from the file's weights. So the numbers of a run are checked one by one: keys and values that it
has stored, and logits, each behind what stands in the cache before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import gguf
import numpy as np
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE, CacheShape

from glmq.gguf import GGUFFile

from .prediction_runs import feed_forward, rms

ROWS_AT_ONCE = 4096
"""Rows of a matrix that are float64 at the same time."""
STEPS = 32
"""Of eight bits, in the deviation of random numbers."""


@dataclass(frozen=True)
class Row:
    """A token at a position. left_out: positions that its attention does without."""

    token: int
    position: int
    left_out: range = range(0)


@dataclass(frozen=True)
class Outputs:
    """What rows give.

    logits: (rows, n_vocab). keys, values: of each layer (rows, kv heads, dim), before they are kept.
    page_shares: the largest part of its attention that a row's head gives to each page, of each layer.
    """

    logits: np.ndarray
    keys: list[np.ndarray]
    values: list[np.ndarray]
    page_shares: np.ndarray


class BehindCache:
    """A model with a cache of a sequence. pages: uint8, of a Q8_0 cache, as many as hold all positions."""

    def __init__(self, file: GGUFFile, shape: CacheShape, pages: Sequence[np.ndarray]) -> None:
        assert shape.type == "Q8_0" and not shape.key_dim % 32 and not shape.value_dim % 32
        self._file, self._shape, self._pages = file, shape, pages

    def outputs(self, rows: Sequence[Row]) -> Outputs:
        """What the model gives for each row alone."""
        shape = self._shape
        x = self._rows_of("token_embd.weight", [row.token for row in rows])
        keys, values, shares = [], [], []
        for layer in range(shape.trunk.n_layers):
            prefix = f"blk.{layer}."
            normed = rms(x) * self._vector(f"{prefix}attn_norm.weight")
            q, k, v = (self._projected(normed, prefix, part) for part in "qkv")
            q, k = (turned(each, rows, self._integer("rope.dimension_count"), self._theta) for each in (q, k))
            attended, of_pages = self._attend(layer, q, rows)
            x = x + self._times(attended, f"{prefix}attn_output.weight")
            normed = rms(x) * self._vector(f"{prefix}post_attention_norm.weight")
            is_dense = layer < self._integer("leading_dense_block_count")
            x = x + (self._dense(normed, prefix, "") if is_dense else self._experts(normed, prefix))
            keys.append(k)
            values.append(v)
            shares.append(of_pages)
        last = rms(x) * self._vector("output_norm.weight")
        return Outputs(self._times(last, "output.weight"), keys, values, np.array(shares))

    def kept(self, layer: int, kv_head: int, first_page: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values of all positions from a page on, float64 (positions, dim)."""
        shape, size = self._shape, POSITIONS_PER_PAGE
        keys_at, values_at = shape.keys_at(layer, kv_head), shape.values_at(layer, kv_head)
        pages = self._pages[first_page:]
        end = values_at + size * shape.value_bytes
        keys = np.stack([page[keys_at:values_at] for page in pages]).reshape(len(pages), size // 16, -1)
        values = np.stack([page[values_at:end] for page in pages]).reshape(len(pages), size, -1)
        n = 16 * shape.key_dim
        numbers = keys[..., :n].view(np.int8).reshape(*keys.shape[:2], -1, 32, 16)
        scales = np.ascontiguousarray(keys[..., n:]).view(np.float16).reshape(*keys.shape[:2], -1, 1, 16)
        turned_back = (numbers * scales.astype(np.float64)).reshape(*keys.shape[:2], -1, 16).swapaxes(2, 3)
        numbers = values[..., : shape.value_dim].view(np.int8).reshape(len(pages), size, -1, 32)
        scales = np.ascontiguousarray(values[..., shape.value_dim :]).view(np.float16)[..., None]
        return (
            turned_back.reshape(-1, shape.key_dim),
            (numbers * scales.astype(np.float64)).reshape(-1, shape.value_dim),
        )

    def _attend(self, layer: int, q: np.ndarray, rows: Sequence[Row]) -> tuple[np.ndarray, np.ndarray]:
        """softmax(q k^T) v, (rows, heads * dim), and the largest share of each page."""
        n_heads = q.shape[1] // self._shape.n_kv_heads
        out = np.empty((len(rows), q.shape[1], self._shape.value_dim))
        most = np.zeros(len(self._pages))
        for kv_head in range(self._shape.n_kv_heads):
            keys, values = self.kept(layer, kv_head)
            heads = slice(kv_head * n_heads, (kv_head + 1) * n_heads)
            for i, row in enumerate(rows):
                scores = q[i, heads] @ keys[: row.position + 1].T / np.sqrt(self._shape.key_dim)
                scores[:, row.left_out.start : row.left_out.stop] = -np.inf
                shares = np.exp(scores - scores.max(axis=1, keepdims=True))
                shares /= shares.sum(axis=1, keepdims=True)
                out[i, heads] = shares @ values[: row.position + 1]
                of_pages = np.add.reduceat(
                    shares, np.arange(0, row.position + 1, POSITIONS_PER_PAGE), axis=1
                ).max(axis=0)
                most[: len(of_pages)] = np.maximum(most[: len(of_pages)], of_pages)
        return out.reshape(len(rows), -1), most

    def _projected(self, x: np.ndarray, prefix: str, part: str) -> np.ndarray:
        """Queries, keys or values, (rows, heads, dim)."""
        biased = self._times(x, f"{prefix}attn_{part}.weight") + self._vector(f"{prefix}attn_{part}.bias")
        return biased.reshape(len(x), -1, self._integer("attention.key_length"))

    def _dense(self, x: np.ndarray, prefix: str, suffix: str) -> np.ndarray:
        gate, up = (self._times(x, f"{prefix}ffn_{part}{suffix}.weight") for part in ("gate", "up"))
        return self._times(gate / (1 + np.exp(-gate)) * up, f"{prefix}ffn_down{suffix}.weight")

    def _experts(self, x: np.ndarray, prefix: str) -> np.ndarray:
        scores = 1 / (1 + np.exp(-self._times(x, f"{prefix}ffn_gate_inp.weight")))
        top_k = self._integer("expert_used_count")
        chosen = np.argsort(-(scores + self._vector(f"{prefix}exp_probs_b.bias")), axis=1)[:, :top_k]
        weights = np.take_along_axis(scores, chosen, axis=1)
        factor = self._file.number("glm4moe.expert_weights_scale")
        weights *= factor / weights.sum(axis=1, keepdims=True)
        out = self._dense(x, prefix, "_shexp")
        for expert in np.unique(chosen):
            matrices = (
                self._rows_of(f"{prefix}ffn_{part}_exps.weight", expert) for part in ("gate", "up", "down")
            )
            of_rows, places = np.nonzero(chosen == expert)
            found = feed_forward(x[of_rows], *matrices)
            out[of_rows] += weights[of_rows, places][:, None] * found
        return out

    def _times(self, x: np.ndarray, name: str) -> np.ndarray:
        """x times a matrix of the file."""
        n_rows = self._file.tensor(name).shape[0]
        parts = [
            x @ self._rows_of(name, slice(first, first + ROWS_AT_ONCE)).T
            for first in range(0, n_rows, ROWS_AT_ONCE)
        ]
        return np.concatenate(parts, axis=1)

    def _rows_of(self, name: str, which: int | slice | list[int]) -> np.ndarray:
        """Some of a tensor, by its outermost dimension, float64."""
        info = self._file.tensor(name)
        data = self._file.data(name).reshape(*info.shape[:-1], -1)[which]
        return gguf.quants.dequantize(data, gguf.GGMLQuantizationType[info.type]).astype(np.float64)

    def _vector(self, name: str) -> np.ndarray:
        return self._file.data(name).view(np.float32).astype(np.float64)

    def _integer(self, key: str) -> int:
        return self._file.integer(f"glm4moe.{key}")

    @property
    def _theta(self) -> float:
        return self._file.number("glm4moe.rope.freq_base")


def turned(x: np.ndarray, rows: Sequence[Row], n_rotated: int, theta: float) -> np.ndarray:
    """Rotary embedding of (rows, heads, dim), pairs (i, i + n / 2)."""
    half = n_rotated // 2
    positions = np.array([row.position for row in rows], np.float64)
    angles = positions[:, None, None] * theta ** (-np.arange(half) / half)
    a, b = x[..., :half], x[..., half:n_rotated]
    both = [a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)]
    return np.concatenate([*both, x[..., n_rotated:]], axis=2)


def fill_page(
    page: np.ndarray, shape: CacheShape, deviations: Sequence[tuple[float, float]], rng: np.random.Generator
) -> None:
    """Write random keys and values of all positions into a page, uint8 (page_bytes,), of a Q8_0 cache.

    deviations: of the keys and of the values of each layer.
    """
    heads = page.reshape(shape.n_layers, shape.n_kv_heads, -1)
    for of_layer, (of_keys, of_values) in zip(heads, deviations, strict=True):
        keys, values = np.split(of_layer, [POSITIONS_PER_PAGE * shape.key_bytes], axis=1)
        _fill(keys.reshape(len(keys), -1, 16 * shape.key_bytes), 16 * shape.key_dim, of_keys, rng)
        _fill(values.reshape(len(keys), -1, shape.value_bytes), shape.value_dim, of_values, rng)


def _fill(blocks: np.ndarray, n_numbers: int, deviation: float, rng: np.random.Generator) -> None:
    """Bytes that are normal about zero, with one scale behind them."""
    numbers = np.rint(STEPS * rng.standard_normal((*blocks.shape[:2], n_numbers), np.float32))
    blocks[..., :n_numbers] = numbers.clip(-127, 127).astype(np.int8).view(np.uint8)
    blocks[..., n_numbers:].view(np.uint16)[:] = np.float16(deviation / STEPS).view(np.uint16)
