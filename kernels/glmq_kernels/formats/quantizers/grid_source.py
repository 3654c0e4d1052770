"""256 weights of a source into the scratch memory of the kernels of the grid types."""

from __future__ import annotations

import numpy as np

from ...simd.addresses import inline
from ...simd.vectors import store, sum_lanes, zero_f32x16
from .grid_scratch import SOURCE
from .lanes import hidden
from .source import larger, load_16, magnitude_bits

SUPER_BLOCK = 256
SMALLEST = np.float32(1e-8)
"""A block of smaller magnitudes becomes nothing: float16 has no scale for it."""


@inline
def load_super_block(work, source, kind, start, worst):
    """Weights from number `start` on; gives their mean square, and the largest magnitudes with `worst`."""
    sums = zero_f32x16()
    for i in range(0, hidden(SUPER_BLOCK), 16):
        x = load_16(source, kind, start + i)
        worst = larger(worst, magnitude_bits(x))
        sums = sums + x * x
        store(work + SOURCE + 4 * i, x)
    return sum_lanes(sums) / np.float32(SUPER_BLOCK), worst
