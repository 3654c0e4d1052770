"""The record of a tile of tokens for a block of 32 columns: where its fields are.

    tile x 32   BYTES        int8 plus the level's bias (128, or 0 where factors are signed)
    tile x 4    SCALES       float32: scale of the block
    tile x 8    HALF_SUMS    float32 [2]: scale times the sum of each half block
    tile x 4    SUMS         float32: scale times the sum of the block

For `avx2_tile.py` HALF_SUMS are int16 [2][2], from which products in 16 bits begin: minus the sums of the
first half and of the whole block, each of columns 4j and 4j + 1, and of 4j + 2 and 4j + 3.
"""

from __future__ import annotations

from ..jit import isa
from .sizes import record_bytes

TILE = isa.current().tile
SCALES = 32 * TILE
HALF_SUMS = 36 * TILE
SUMS = 44 * TILE
RECORD_BYTES = record_bytes(TILE)

IN_SHORT_REGISTERS = isa.current().dot_lanes == 8
"""Whether products are those of `avx2_tile.py`."""
