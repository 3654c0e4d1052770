"""What the kernels that measure the machine are told."""

from __future__ import annotations

from enum import auto

from ...threads.argument_record import ArgumentRecord

FACTOR_BYTES = 9 * 32
"""Of what is multiplied: a factor, and what 8 chains begin with."""


class ReadMemory(ArgumentRecord):
    """Every byte of a region, once."""

    ADDRESS = auto()
    N_BYTES = auto()  # a multiple of 256
    OUT = auto()  # 64 bytes for each thread


class MultiplyBytes(ArgumentRecord):
    """Dot products with everything in registers."""

    REPETITIONS = auto()
    FACTORS = auto()  # FACTOR_BYTES
    OUT = auto()  # 64 bytes for each thread
