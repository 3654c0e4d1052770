"""Which tokens' attention takes panels, and in what items of work."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ...jit import isa
from ..attention.cache_layout import CacheShape, types_of
from ..prompt_item import as_items, sequences_backwards

LEAST_TOKENS = 4
"""Shorter runs of tokens do not take panels."""
LEAST_ROWS = 48
"""Query rows of a kv head from which on panels pay; an item has no fewer, or little fewer."""
MOST_ROWS = 256
"""Of an item: with their queries and outputs as many as the second cache holds."""


def panels_pay(shape: CacheShape, heads: int) -> bool:
    """Whether the processor multiplies pairs of int16 faster than floats, and the kernel takes such heads.

    heads: query heads of a kv head. An exact cache (F32) stays exact.
    """
    faster = isa.current().dot in ("vnni", "maddubs")
    return (
        faster
        and "F32" not in types_of(shape.type)
        and not shape.values_in_keys
        and heads * shape.value_dim % 32 == 0
    )


def item_tokens(heads: int) -> int:
    """Tokens of an item at most, with so many query heads for a kv head."""
    return max(1, MOST_ROWS // heads)


def panel_work(
    heads: int, n_kv_heads: int, positions: np.ndarray, page_tables: np.ndarray, n_row_tokens: int,
    n_threads: int,
) -> np.ndarray:  # fmt: skip
    """Items, int64 (n, fields), of the last tokens of a run, all up to its end; those that cost most first.

    Those are whole sequences' tokens, none of the first `n_row_tokens`, and enough for all threads: fewer
    are better cut by position.
    """
    items: list[tuple[int, int]] = []
    for first, last in sequences_backwards(positions, page_tables):
        n = last - first
        if first < n_row_tokens or n < LEAST_TOKENS or n * heads < LEAST_ROWS:
            break
        most = max(1, n * heads // LEAST_ROWS)
        if most * n_kv_heads < n_threads:
            break
        wanted = -(-UNITS_PER_THREAD * n_threads // n_kv_heads)
        count = max(-(-n // item_tokens(heads)), min(most, wanted))
        items += pairwise(first + n * i // count for i in range(count + 1))
    return as_items(items, positions)


UNITS_PER_THREAD = 4
"""An item for each kv head is a unit: at least so many, where there are enough rows."""
