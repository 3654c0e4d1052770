"""Sizes of the panels' kernel and of its scratch memory, which the kernel and its caller agree on."""

from __future__ import annotations

from dataclasses import dataclass

from ...jit import isa
from ..attention.cache_layout import POSITIONS_PER_PAGE, row_bytes, types_of, worked_type

CHUNK = POSITIONS_PER_PAGE
"""Positions of a panel: those of a page."""

WEIGHT_BITS = 13
"""The largest weight of a chunk is 2**WEIGHT_BITS as int16."""
VALUE_MOST = 4095
"""The largest magnitude of a column of values as int16."""
assert 2**WEIGHT_BITS * VALUE_MOST * CHUNK < 2**31, "sums are int32"

STATE_BYTES = 32
"""Of a query row: the fields below."""
LARGEST_AT = 0  # float32: the largest score so far
SUM_AT = 4  # float32: the sum of the weights so far
SEEN_AT = 8  # int64: positions that it sees
QUERY_SCALE_AT = 16  # float32: of its query's int16
WEIGHT_SCALE_AT = 20  # float32: of the chunk's int16 weights


def rows_at_once() -> int:
    """Rows whose sums the registers hold, beside the panel's vectors."""
    return 12 if isa.current().dot_lanes == 16 else 6


def vectors_at_once() -> int:
    """Vectors of a panel that meet them."""
    return 2 if isa.current().dot_lanes == 16 else 1


@dataclass(frozen=True)
class PanelScratch:
    """Where things begin in a thread's scratch, in bytes.

    keys            [CHUNK / 16][key_dim / 2][16][2]    int16
    values          [value_dim / 16][CHUNK / 2][16][2]  int16
    key_scales      [CHUNK]                         float32
    value_scales    [value_dim]                     float32
    scores          [group][CHUNK]                  float32
    weights         [group][CHUNK]                  int16
    unpacked        keys, then values, of a page of four bits in eight
    query           [key_dim]                       float32, on its way
    queries         [rows][key_dim]                 int16
    out             [rows][value_dim]               float32
    states          [rows]                          `STATE_BYTES` each
    """

    key_dim: int
    value_dim: int
    group: int
    values: int
    key_scales: int
    value_scales: int
    scores: int
    weights: int
    unpacked: int
    query: int
    queries: int

    @classmethod
    def of(cls, key_dim: int, value_dim: int, group: int, cache_type: str) -> PanelScratch:
        """For groups of so many query rows."""
        values = 2 * CHUNK * key_dim
        key_scales = values + 2 * CHUNK * value_dim
        value_scales = key_scales + 4 * CHUNK
        scores = value_scales + 4 * value_dim
        weights = scores + 4 * CHUNK * group
        unpacked = weights + 2 * CHUNK * group
        query = unpacked + max(
            CHUNK * row_bytes(worked_type(kept_as), columns)
            for kept_as, columns in zip(types_of(cache_type), (key_dim, value_dim), strict=True)
        )
        return cls(
            key_dim, value_dim, group, values, key_scales, value_scales, scores, weights, unpacked, query,
            query + 4 * key_dim,
        )  # fmt: skip

    def n_bytes(self, n_rows: int) -> int:
        """Of a thread, for items of up to so many query rows."""
        rows = -(-n_rows // self.group) * self.group
        return self.queries + rows * (2 * self.key_dim + 4 * self.value_dim + STATE_BYTES) + 64
