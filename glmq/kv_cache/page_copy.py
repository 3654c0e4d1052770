"""Copies of the first positions of a page."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE, CacheShape

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
        first = whole * block
        n_numbers = shape.key_dim * LANES
        number_bytes = {"F32": 4, "F16": 2, "Q8_0": 1}[shape.type]
        yield first, first + n_numbers * number_bytes, shape.key_dim, rest * number_bytes
        if shape.type == "Q8_0":
            scales = first + n_numbers
            yield scales, first + block, (first + block - scales) // (2 * LANES), 2 * rest
