"""The keys of latent attention as GGUF has them: of each head the matrix turned."""

from __future__ import annotations

import numpy as np

from .lite_config import Glm4MoeLiteConfig
from .plan import Weights

MARK = " (keys turned)"


def turned(source: str) -> str:
    """The name under which a `kv_b_proj` is read as its heads' keys, turned."""
    return source + MARK


class CheckpointWithTurnedKeys:
    """A checkpoint that also has the keys of each `kv_b_proj` turned: (n_heads, rank, nope)."""

    def __init__(self, weights: Weights, config: Glm4MoeLiteConfig) -> None:
        self._weights, self._config = weights, config

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions, outermost first."""
        if name.endswith(MARK):
            c = self._config
            return c.num_attention_heads, c.kv_lora_rank, c.qk_nope_head_dim
        return self._weights.shape(name)

    def item_bytes(self, name: str) -> int:
        """Bytes of one weight."""
        return self._weights.item_bytes(name.removesuffix(MARK))

    def read(self, name: str, first_row: int, n_rows: int, buffer: np.ndarray) -> np.ndarray:
        """Rows of a tensor, as `plan.Weights` says; of turned keys, columns of their heads."""
        if not name.endswith(MARK):
            return self._weights.read(name, first_row, n_rows, buffer)
        rank, last = self._config.kv_lora_rank, first_row + n_rows
        heads = range(first_row // rank, (last - 1) // rank + 1)
        parts = [
            self._keys(name.removesuffix(MARK), head)[:, max(0, first_row - head * rank) : last - head * rank]
            for head in heads
        ]
        return np.ascontiguousarray(np.concatenate(parts, axis=1).T)

    def _keys(self, name: str, head: int) -> np.ndarray:
        """(nope, rank): the keys of a head."""
        c = self._config
        buffer = np.empty(c.qk_nope_head_dim * c.kv_lora_rank * self.item_bytes(name), np.uint8)
        first = head * (c.qk_nope_head_dim + c.v_head_dim)
        return self._weights.read(name, first, c.qk_nope_head_dim, buffer)
