"""The keys and values of the positions evaluated so far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from glmq_kernels.arrays import aligned_zeros
from glmq_kernels.errors import UserError
from glmq_kernels.ops.attention.cache_layout import CAPACITY_UNIT, position_bytes


@dataclass(frozen=True)
class CacheShape:
    """What a model keeps of each position: (n_layers, n_kv_heads, head_dim) keys and values.

    type: F16, or Q8_0 in about half the memory.
    """

    n_layers: int
    n_kv_heads: int
    head_dim: int
    type: str = "F16"

    def n_bytes(self, n_ctx: int) -> int:
        """Memory of a full cache."""
        return (
            2 * self.n_layers * self.n_kv_heads * position_bytes(self.type, self.head_dim) * capacity(n_ctx)
        )


def capacity(n_ctx: int) -> int:
    """Positions that a cache for `n_ctx` has room for."""
    return -(-n_ctx // CAPACITY_UNIT) * CAPACITY_UNIT


class KVCache:
    """Room for `n_ctx` positions. The system hands out its pages as they are first written.

    Raises UserError when it does not.
    """

    def __init__(self, shape: CacheShape, n_ctx: int) -> None:
        self.shape = shape
        self.capacity = capacity(n_ctx)
        half = shape.n_bytes(n_ctx) // 2
        try:
            self.keys, self.values = aligned_zeros(half), aligned_zeros(half)
        except MemoryError:
            raise UserError(
                f"the system does not give {2 * half / 1e9:.1f} GB of memory for a context of {n_ctx} tokens;"
                " choose a smaller one"
            ) from None

    def pages(self) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values as uint8 (n_layers * n_kv_heads, capacity / 32, bytes of 32 positions)."""
        parts = self.shape.n_layers * self.shape.n_kv_heads, self.capacity // CAPACITY_UNIT, -1
        return self.keys.reshape(parts), self.values.reshape(parts)
