"""Sizes of the KV cache that kernels and their callers agree on (drawn in `ops/attention/kv_cache.py`)."""

from __future__ import annotations

CACHE_TYPES = ("F16", "Q8_0")
LAYOUT = 1
"""Raised with any change of how keys and values lie or are computed, because session files keep them."""
CAPACITY_UNIT = 32
"""The capacity is a multiple of so many positions."""


def position_bytes(cache_type: str, head_dim: int) -> int:
    """Bytes of the key, and of the value, of one position and kv head."""
    return 2 * head_dim if cache_type == "F16" else head_dim + 2 * (-(-head_dim // 32))
