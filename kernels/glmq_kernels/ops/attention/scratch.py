"""The scratch memory of attention's kernel, on which it and its caller agree; what is multiplied as bytes."""

from __future__ import annotations

from dataclasses import dataclass

from ...jit import isa
from .cache_layout import row_bytes, types_of, worked_type
from .work_list import CHUNK, groups_of_item

SO_FAR_AT = 8  # the largest score and the sum of weights of all parts so far, float32 each
SEEN_AT = 16  # int64: positions that the row sees
QUERY_SCALE_AT = 24  # float32: of its query as int16, 1 where it is float32
TAKE_AT = 28  # float32: what a chunk's weights are multiplied by
ROW_STATE_BYTES = 32
"""Of a row's state, which begins with the largest score and the sum of weights of the part."""


def multiplies_bytes(kept_as: str, values_in_keys: bool) -> bool:
    """Whether keys or values are multiplied as bytes (`byte_products.py`).

    That is where registers of 256 bits multiply pairs of int16.
    """
    level = isa.current()
    has_pairs = level.dot in ("vnni", "maddubs") and level.dot_lanes == 8
    return has_pairs and worked_type(kept_as) == "Q8_0" and not values_in_keys


def chunk_parts(rows: int, value_dim: int) -> list[int]:
    """Where each part of what `byte_products.py` makes of a chunk begins, and where the last ends."""
    groups, places = -(-value_dim // 32), [0]
    for size in (4 * CHUNK, 4, 4 * rows, 2 * rows * CHUNK):
        places.append(places[-1] + size * groups)
    return places


@dataclass(frozen=True)
class RowScratch:
    """Where things begin in a thread's scratch, in bytes.

    A group of query rows has

    queries     [rows][key_dim]         float32, or int16 where keys are multiplied as bytes
    part        [rows][value_dim]       float32: out of the part
    out         [rows][value_dim]       float32: out so far
    state       [rows]                  `ROW_STATE_BYTES` each

    and behind all groups come

    scores      [rows][CHUNK]           float32
    turned      [CHUNK / 16][key_dim][16]   float32: of keys in rows
    keys        a chunk of eight bits, of four
    values      the same, where values are apart
    made        what `byte_products.py` makes of a chunk
    query       [key_dim]               float32, on its way
    """

    group_bytes: int
    part: int
    out: int
    state: int
    scores: int
    turned: int
    keys: int
    values: int
    made: int
    query: int
    n_bytes: int

    @classmethod
    def of(cls, rows: int, key_dim: int, value_dim: int, cache_type: str, in_keys: bool) -> RowScratch:
        """For groups of so many rows."""
        key_type, value_type = types_of(cache_type)
        part = 4 * rows * key_dim
        out = part + 4 * rows * value_dim
        state = out + 4 * rows * value_dim
        group_bytes = state + ROW_STATE_BYTES * rows
        scores = groups_of_item(in_keys) * group_bytes
        turned = scores + 4 * rows * CHUNK
        keys = turned + (4 * CHUNK * key_dim if in_keys else 0)
        values = keys + _unpacked_bytes(key_type, key_dim)
        made = values + (0 if in_keys else _unpacked_bytes(value_type, value_dim))
        made = -(-made // 64) * 64
        in_bytes = multiplies_bytes(value_type, in_keys)
        query = made + (chunk_parts(rows, value_dim)[-1] + 8 if in_bytes else 0)
        n_bytes = query + 4 * key_dim + 64
        return cls(group_bytes, part, out, state, scores, turned, keys, values, made, query, n_bytes)


def _unpacked_bytes(kept_as: str, columns: int) -> int:
    """Of a chunk that becomes another type first."""
    worked = worked_type(kept_as)
    return 0 if worked == kept_as else CHUNK * row_bytes(worked, columns)
