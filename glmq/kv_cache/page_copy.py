"""Copies of the first positions of a page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE, CacheShape, types_of

LANES = 16
"""Keys of so many positions lie interleaved (see `glmq_kernels/ops/attention/rows.py`)."""


def copy_positions(shape: CacheShape, source: np.ndarray, target: np.ndarray, n: int) -> None:
    """Copy the first `n` positions, of all layers, and nothing else; both pages are uint8 (page_bytes,)."""
    n_heads = shape.n_layers * shape.n_kv_heads
    for first, end, n_rows, n_bytes in _spans(shape, n):
        old, new = (
            page.reshape(n_heads, -1)[:, first:end].reshape(n_heads, n_rows, (end - first) // n_rows)
            for page in (source, target)
        )
        new[..., :n_bytes] = old[..., :n_bytes]


def _spans(shape: CacheShape, n: int) -> Iterator[tuple[int, int, int, int]]:
    """Where the first `n` positions of a layer and kv head lie: (first, end, rows, bytes of each row)."""
    if shape.values_in_keys:
        yield 0, n * shape.key_bytes, 1, n * shape.key_bytes
        return
    block = LANES * shape.key_bytes
    whole, rest = divmod(n, LANES)
    values = POSITIONS_PER_PAGE * shape.key_bytes
    yield 0, whole * block, 1, whole * block
    yield values, values + n * shape.value_bytes, 1, n * shape.value_bytes
    if rest:
        first, kept_as = whole * block, types_of(shape.type)[0]
        groups = -(-shape.key_dim // 32)
        n_rows, number_bytes = {
            "F32": (shape.key_dim, 4), "F16": (shape.key_dim, 2), "Q8_0": (shape.key_dim, 1),
            "Q4_0": (16 * groups, 1),
        }[kept_as]  # fmt: skip
        scales = first + LANES * n_rows * number_bytes
        yield first, scales, n_rows, rest * number_bytes
        if scales < first + block:
            yield scales, first + block, groups, 2 * rest
