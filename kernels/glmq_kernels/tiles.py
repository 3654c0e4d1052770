"""Sizes that the kernels and their callers agree on for products of many tokens."""

from __future__ import annotations

from . import isa

STRETCH = 1024
"""Columns of a panel that are unpacked at a time."""

ROWS = 32
"""Weight rows that are multiplied together; threads share rows out in these units."""

PANEL_SCRATCH_BYTES = 2 * (STRETCH // 32) * (512 + 2 * 3 * 64)
"""Room for two unpacked panels of any format."""


def record_bytes(tile: int) -> int:
    """Bytes of a tile's record for one block of 32 columns (drawn in `native/tile.py`)."""
    return 44 * tile


def tile_count(n_tokens: int) -> int:
    """Tiles that hold `n_tokens`."""
    return -(-n_tokens // isa.current().tile)
