"""The keys and values of the positions evaluated so far."""

from __future__ import annotations

from glmq_kernels.memory import aligned_zeros

POSITIONS_PER_BLOCK = 16
"""Keys are stored in blocks of so many positions (drawn in `glmq_kernels/native/rope.py`)."""


def cache_bytes(n_layers: int, n_kv_heads: int, head_dim: int, n_ctx: int) -> int:
    """Memory of a full cache: float16 keys and values."""
    return 2 * 2 * n_layers * n_kv_heads * head_dim * _capacity(n_ctx)


def _capacity(n_ctx: int) -> int:
    return -(-n_ctx // POSITIONS_PER_BLOCK) * POSITIONS_PER_BLOCK


class KVCache:
    """Room for `n_ctx` positions. The system hands out its pages as they are first written."""

    def __init__(self, n_layers: int, n_kv_heads: int, head_dim: int, n_ctx: int) -> None:
        self.capacity = _capacity(n_ctx)
        half = cache_bytes(n_layers, n_kv_heads, head_dim, n_ctx) // 2
        self.keys = aligned_zeros(half)
        self.values = aligned_zeros(half)
