"""The keys and values of the positions evaluated so far."""

from __future__ import annotations

import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of
from glmq_kernels.errors import UserError
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE, CacheShape

BLOCK_POSITIONS = 32
"""Positions of a block, in which keys and values are saved."""


class KVCache:
    """Room for `n_ctx` positions. The system hands out its memory as it is first written.

    page_table: int64, the address of each page. Raises UserError when the system does not give the memory.
    """

    def __init__(self, shape: CacheShape, n_ctx: int) -> None:
        self.shape = shape
        n_bytes = shape.n_bytes(n_ctx)
        try:
            self._memory = aligned_zeros(n_bytes)
        except MemoryError:
            raise UserError(
                f"the system does not give {n_bytes / 1e9:.1f} GB of memory for a context of {n_ctx} tokens;"
                " choose a smaller one"
            ) from None
        first, last = address_of(self._memory), address_of(self._memory) + n_bytes
        self.page_table = copy_of(np.arange(first, last, shape.page_bytes), np.int64)

    def block(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys and values of 32 positions: uint8 (n_layers * n_kv_heads, bytes), which may be written."""
        shape, blocks = self.shape, POSITIONS_PER_PAGE // BLOCK_POSITIONS
        heads = self._memory.reshape(-1, shape.n_layers * shape.n_kv_heads, shape.head_bytes)
        page, place = heads[number // blocks], number % blocks
        key_bytes, value_bytes = BLOCK_POSITIONS * shape.key_bytes, BLOCK_POSITIONS * shape.value_bytes
        values = blocks * key_bytes + place * value_bytes
        return (
            page[:, place * key_bytes : (place + 1) * key_bytes],
            page[:, values : values + value_bytes],
        )
