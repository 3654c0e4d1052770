"""Which tokens meet the cache's rows expanded, and in what items of work.

Latent attention can be computed in two forms. *Absorbed*: queries are multiplied with the heads' key
matrices and meet the cached rows as they are; nothing is done for a cached row, but a pair of query and row
costs more. *Expanded*: every row is turned into the heads' keys and values, which pays where many queries
share them.

Work of a head, in multiply-adds, for T queries of P pairs with the positions they see, up to the N-th:

    absorbed    P * (row_dim + kv_rank)         + T * kv_rank * expanded_dim
    expanded    P * (key_dim + value_dim)       + N * kv_rank * expanded_dim
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from ..prompt_item import as_items, sequences_backwards
from .sizes import LatentSizes

LEAST_TOKENS = 64
"""Shorter runs of tokens are not expanded, and an item has no fewer."""
PRODUCT_COST = 1.1
"""Of a multiply-add of the absorbed form's products with the heads' matrices, which are of 8 bits mostly."""
PAIR_COST = 1.25
"""Of a multiply-add of the absorbed form's pairs, whose rows do not fit the nearest cache."""
MOST_RANGES = 8


def expanded_is_cheaper(sizes: LatentSizes, n_tokens: int, position: int) -> bool:
    """Whether `n_tokens` from a position on are better expanded."""
    if n_tokens < LEAST_TOKENS:
        return False
    pairs = n_tokens * position + n_tokens * (n_tokens + 1) // 2
    matrices = sizes.kv_rank * sizes.expanded_dim
    absorbed = PAIR_COST * pairs * (sizes.row_dim + sizes.kv_rank) + PRODUCT_COST * n_tokens * matrices
    return expanded_cost(sizes, pairs, position + n_tokens) < absorbed


def expanded_cost(sizes: LatentSizes, pairs: int, n_positions: int) -> int:
    """Multiply-adds of a head for so many pairs of a query and a position that it sees, of `n_positions`."""
    return pairs * (sizes.key_dim + sizes.value_dim) + n_positions * sizes.kv_rank * sizes.expanded_dim


def longest_item(max_tokens: int, n_threads: int, n_heads: int) -> int:
    """Tokens that an item of runs of up to `max_tokens` may have."""
    return -(-max_tokens // _least_ranges(max_tokens, n_threads, n_heads))


def _least_ranges(n_tokens: int, n_threads: int, n_heads: int) -> int:
    """Of a run's tokens: more where there are more threads than heads."""
    return max(1, min(n_threads // n_heads, n_tokens // LEAST_TOKENS, MOST_RANGES))


def expanded_work(
    sizes: LatentSizes, positions: np.ndarray, page_tables: np.ndarray, n_row_tokens: int, n_threads: int
) -> np.ndarray:
    """Items, int64 (n, fields), of the last tokens of a run, all up to its end; those that cost most first.

    Those are whole sequences' tokens, none of the first `n_row_tokens`.
    """
    items: list[tuple[int, int]] = []
    for first, last in sequences_backwards(positions, page_tables):
        position = int(positions[first])
        if first < n_row_tokens or not expanded_is_cheaper(sizes, last - first, position):
            break
        items += _ranges(sizes, first, last, position, n_threads)
    return as_items(items, positions)


def _ranges(
    sizes: LatentSizes, first: int, last: int, position: int, n_threads: int
) -> list[tuple[int, int]]:
    """A sequence's tokens as items: several where that keeps more threads busy than it costs."""
    n, n_positions = last - first, position + last - first
    pairs = n * position + n * (n + 1) // 2

    def seconds(count: int) -> float:
        rounds = -(-sizes.n_heads * count // n_threads)
        return rounds * expanded_cost(sizes, pairs // count, n_positions)

    least = _least_ranges(n, n_threads, sizes.n_heads)
    count = min(range(least, max(least, min(MOST_RANGES, n // LEAST_TOKENS)) + 1), key=seconds)
    borders = [first + n * i // count for i in range(count + 1)]
    return list(pairwise(borders))
