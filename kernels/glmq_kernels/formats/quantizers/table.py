"""Which tensor types can be written, and the kernel that writes each.

A family of types is a module of this folder, whose `quantize(type_name)` makes the kernel of one type
(`arguments.py` says what it is told). A new type is such a kernel and its line here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import small_block_scratch, super_block_scratch
from .grid_scratch import SCRATCH_BYTES as GRID_SCRATCH

LARGEST_HALF = 65520.0
"""Magnitudes from here on become infinite in float16."""

GRID_ABOVE = LARGEST_HALF * 31 / 1.033
"""Magnitudes from here on may need a larger scale than float16 has, in the grid types of magnitudes."""
SHIFTED_ABOVE = LARGEST_HALF * 15 / 1.125 / 8
"""The same in IQ1_*, whose smallest values are an eighth of the scale."""


@dataclass(frozen=True)
class Quantizer:
    """How a tensor type is written.

    module: of this folder, with the kernel. above: magnitudes from here on become infinite in the type or in
    its scales. uses_importance: whether the importance of columns changes anything. needs_importance: whether
    the type is refused without it, as it would be of no use. scratch: bytes of memory that the kernel wants.
    variant: what the kernel is made for, where that is not the type.
    """

    module: str
    above: float = LARGEST_HALF
    uses_importance: bool = True
    needs_importance: bool = False
    scratch: int = 0
    variant: str = ""


QUANTIZERS = {
    "F32": Quantizer("floats", np.inf, uses_importance=False),
    "F16": Quantizer("floats", uses_importance=False),
    "BF16": Quantizer("floats", float(np.uint32(0x7F7F8000).view(np.float32)), uses_importance=False),
    "Q8_0": Quantizer("q8_0", LARGEST_HALF * 127, uses_importance=False),
    "Q4_0": Quantizer("q4_0_to_q5_1", LARGEST_HALF * 8, scratch=small_block_scratch.SIZE),
    "Q4_1": Quantizer("q4_0_to_q5_1", scratch=small_block_scratch.SIZE),
    "Q5_0": Quantizer("q4_0_to_q5_1", LARGEST_HALF * 16, scratch=small_block_scratch.SIZE),
    "Q5_1": Quantizer("q4_0_to_q5_1", scratch=small_block_scratch.SIZE),
    "IQ4_NL": Quantizer("iq4", scratch=small_block_scratch.SIZE),
    "MXFP4": Quantizer("mxfp4", np.inf, uses_importance=False),
    "Q2_K": Quantizer("k_minimum", scratch=super_block_scratch.SIZE),
    "Q3_K": Quantizer("k_symmetric", scratch=super_block_scratch.SIZE),
    "Q4_K": Quantizer("k_minimum", scratch=super_block_scratch.SIZE),
    "Q5_K": Quantizer("k_minimum", scratch=super_block_scratch.SIZE),
    "Q6_K": Quantizer("k_symmetric", scratch=super_block_scratch.SIZE),
    "IQ4_XS": Quantizer("iq4", scratch=super_block_scratch.SIZE),
    "TQ1_0": Quantizer("ternary", uses_importance=False, scratch=256 + 16),
    "TQ2_0": Quantizer("ternary", uses_importance=False, scratch=256 + 16),
    "IQ2_XXS": Quantizer(
        "magnitude_grids", GRID_ABOVE, needs_importance=True, scratch=GRID_SCRATCH, variant="8"
    ),
    "IQ2_XS": Quantizer(
        "magnitude_grids", GRID_ABOVE, needs_importance=True, scratch=GRID_SCRATCH, variant="8"
    ),
    "IQ2_S": Quantizer("magnitude_grids", GRID_ABOVE, scratch=GRID_SCRATCH, variant="8"),
    "IQ3_XXS": Quantizer("magnitude_grids", GRID_ABOVE, scratch=GRID_SCRATCH, variant="4"),
    "IQ3_S": Quantizer("magnitude_grids", GRID_ABOVE, scratch=GRID_SCRATCH, variant="4"),
    "IQ1_S": Quantizer(
        "shifted_grids", SHIFTED_ABOVE, needs_importance=True, scratch=GRID_SCRATCH, variant="IQ1"
    ),
    "IQ1_M": Quantizer("shifted_grids", SHIFTED_ABOVE, scratch=GRID_SCRATCH, variant="IQ1"),
}
"""All tensor types that can be written, by name."""
