"""What the kernels of the grid types are told about a type: its tables, and how its weights are fitted."""

from __future__ import annotations

from enum import IntEnum, auto

from ...jit.call_record import CallRecord

CHUNK = 8
"""Candidates that are compared at once."""
FIRST_CHUNK = 64
"""More than the chunks of any key."""


class Renewed(IntEnum):
    """Which entries of a block are chosen once more at its best scale."""

    OFF_GRID = auto()  # those whose codes were not on the grid
    ALL_IF_ANY = auto()  # all, if the codes of any were not
    ALL = auto()


class Packing(IntEnum):
    """How blocks are packed: as those of a type (drawn in `formats/unpack/`)."""

    IQ2_XXS = auto()
    IQ2_XS = auto()
    IQ2_S = auto()
    IQ3_XXS = auto()
    IQ3_S = auto()
    IQ1_S = auto()
    IQ1_M = auto()


class GridType(CallRecord):
    """A grid type."""

    KEYS = auto()  # the tables of its grid
    ENTRIES = auto()
    CHUNKS = auto()
    PACKING = auto()  # one of `Packing`
    BLOCK = auto()  # weights with a scale of their own: 16 or 32
    STEPS = auto()  # scales to try on both sides of the one that takes the largest magnitude to the top
    STEP = auto()  # between them, in values (float)
    EVEN = auto()  # whether the number of minus signs of eight weights must be even
    RENEWED = auto()  # one of `Renewed`
    VARIANCE = auto()  # σ² of the weights is so many times the mean square (float)
    FLOOR = auto()  # part of σ² in the weights of errors where there is no importance (float)
    FACTOR = auto()  # of the scale that is stored (float)
