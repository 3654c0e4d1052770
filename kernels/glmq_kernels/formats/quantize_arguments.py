"""What the kernels that quantize are told, and what they and their caller agree on."""

from __future__ import annotations

from enum import auto

from ..jit.call_record import CallRecord

BLOCK = 32
"""Weights that the kernels take at once, whatever the type."""

SOURCE_KINDS = {"F32": 0, "F16": 1, "BF16": 2}


class QuantizeBlocks(CallRecord):
    """Weights to blocks of a tensor type."""

    SOURCE = auto()  # weights
    SOURCE_KIND = auto()  # one of `SOURCE_KINDS`
    N_BLOCKS = auto()  # of `BLOCK` weights
    OUT = auto()  # the blocks of the tensor type
    LARGEST = auto()  # int64 to fill: the bits of the largest magnitude
