"""What the kernel that turns weights of one type into another is told."""

from __future__ import annotations

from enum import auto

from ..jit.call_record import CallRecord


class TranscodeBlocks(CallRecord):
    """Blocks of 256 weights, one after the other."""

    BLOCKS = auto()  # uint8 (n_blocks, bytes of the type's blocks)
    N_BLOCKS = auto()
    OUT = auto()  # uint8 (n_blocks, bytes of the blocks that they become)
