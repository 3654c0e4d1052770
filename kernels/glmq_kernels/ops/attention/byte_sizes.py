"""Where attention multiplies bytes, and the memory of what it makes of a chunk (`byte_products.py`)."""

from __future__ import annotations

from ...jit import isa
from .work_list import CHUNK


def multiplies_bytes(cache_type: str, values_in_keys: bool) -> bool:
    """Whether attention takes this form: where registers of 256 bits multiply pairs of int16."""
    level = isa.current()
    has_pairs = level.dot in ("vnni", "maddubs") and level.dot_lanes == 8
    return has_pairs and cache_type == "Q8_0" and not values_in_keys


def chunk_parts(rows: int, value_dim: int) -> list[int]:
    """Where each part of what is made of a chunk begins, and where the last ends."""
    groups, places = -(-value_dim // 32), [0]
    for size in (4 * CHUNK, 4, 8, 4 * rows, 2 * rows * CHUNK):
        places.append(places[-1] + size * groups)
    return places


def chunk_bytes(rows: int, value_dim: int) -> int:
    """Memory of what is made of a chunk."""
    return chunk_parts(rows, value_dim)[-1] + 8
