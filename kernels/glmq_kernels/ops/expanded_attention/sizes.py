"""Sizes of latent attention and of its kernel's scratch memory, which the kernel and its caller agree on."""

from __future__ import annotations

from dataclasses import dataclass

from ..attention.cache_layout import POSITIONS_PER_PAGE, row_bytes
from ..attention.work_list import CHUNK

STATE_BYTES = 32
"""Of a query row: its largest score, the sum of its weights (float32), and the positions it sees (int64)."""
SEEN_AT = 8

assert CHUNK == POSITIONS_PER_PAGE, "a chunk lies in one page"


@dataclass(frozen=True)
class LatentSizes:
    """Sizes of latent attention, as in `glmq.models.latent_shape`."""

    n_heads: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int

    @property
    def key_dim(self) -> int:
        """Numbers of a head's keys."""
        return self.nope_dim + self.rope_dim

    @property
    def row_dim(self) -> int:
        """Numbers of the cached row."""
        return self.kv_rank + self.rope_dim

    @property
    def expanded_dim(self) -> int:
        """Numbers that a head makes of a cached row."""
        return self.nope_dim + self.value_dim


@dataclass(frozen=True)
class ScratchLayout:
    """Where things begin in a thread's scratch, in bytes; all float32 but the states.

    weights     [expanded_dim / 16][kv_rank][16]    the head's K_h^T, then V_h^T
    latent      [CHUNK][row_dim]                    the cached rows of a chunk
    expanded    [CHUNK][expanded_dim]               its k_nope, then v
    keys        [CHUNK / 16][key_dim][16]           its keys, turned
    scores      [group_rows][CHUNK]
    queries     [rows][key_dim]
    out         [rows][value_dim]
    states      [rows]                              `STATE_BYTES` each

    and before `queries` a cached row of eight bits, where the cache's has four.
    """

    weights: int
    latent: int
    expanded: int
    keys: int
    scores: int
    unpacked: int
    queries: int

    @classmethod
    def of(cls, sizes: LatentSizes, group_rows: int) -> ScratchLayout:
        """For groups of so many query rows."""
        latent = 4 * sizes.expanded_dim * sizes.kv_rank
        expanded = latent + 4 * CHUNK * sizes.row_dim
        keys = expanded + 4 * CHUNK * sizes.expanded_dim
        scores = keys + 4 * CHUNK * sizes.key_dim
        unpacked = scores + 4 * group_rows * CHUNK
        queries = unpacked + -(-row_bytes("Q8_0", sizes.row_dim) // 64) * 64
        return cls(0, latent, expanded, keys, scores, unpacked, queries)

    def n_bytes(self, sizes: LatentSizes, n_tokens: int, group_rows: int) -> int:
        """Of a thread, for items of up to `n_tokens`."""
        rows = -(-n_tokens // group_rows) * group_rows
        return self.queries + rows * (4 * (sizes.key_dim + sizes.value_dim) + STATE_BYTES) + 64
