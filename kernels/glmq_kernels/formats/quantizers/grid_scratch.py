"""Where the kernels of the grid types keep what they know of 256 weights, in their scratch memory (bytes).

SOURCE      float32: the weights
WEIGHTS     float32: of their errors
ROOTS       float32: the square roots of those
MAGNITUDES  float32: of the weights; of a weight that gets the wrong sign it is negative
PRODUCTS    float32: of magnitudes and weights
NUMBERS     uint16: of the entries found, 32, or 64 where an entry has four weights
TRIAL       uint16: of the entries that are being tried for one block
SCALES      float32: of the 8 or 16 blocks
CODES       bytes: what is stored of those
SIGNS       32 bytes: bit i is set where weight i of eight is negative
"""

from __future__ import annotations

FLOATS = 4 * 256
SOURCE, WEIGHTS, ROOTS, MAGNITUDES, PRODUCTS, NUMBERS = (FLOATS * i for i in range(6))
TRIAL = NUMBERS + 192  # behind 64 numbers, and room for a vector from any of them on
SCALES = TRIAL + 32
CODES = SCALES + 64
SIGNS = CODES + 16
SCRATCH_BYTES = SIGNS + 48
