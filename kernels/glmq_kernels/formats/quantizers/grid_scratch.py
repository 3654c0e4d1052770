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
MEMOS       of each entry of a block, int64: whose candidates are in it, and from MEMO_BEGIN on two times
            eight float32 for each of their chunks

IQ1_*, which has no magnitudes, keeps other things in their places:

RANKS       int32: of the weights of a block, in ascending order
ORDER       int32: their numbers in that order
SHIFTED     float32: eight weights without the shift
SUMS        float32: four times 48 sums
FITS        float32: of each block, Σ weight q x
SQUARES     float32: of each block, Σ weight q²
UNIT        float16: the scale of all
SIGNS       bytes: of each block, bit 1 where its first shift is down, bit 0 where its second is
"""

from __future__ import annotations

FLOATS = 4 * 256
SOURCE, WEIGHTS, ROOTS, MAGNITUDES, PRODUCTS, NUMBERS = (FLOATS * i for i in range(6))
TRIAL = NUMBERS + 192  # behind 64 numbers, and room for a vector from any of them on
SCALES = TRIAL + 32
CODES = SCALES + 64
SIGNS = CODES + 16
MEMOS = SIGNS + 64
MEMO_BEGIN = 32
MEMO_BYTES = MEMO_BEGIN + 64 * 38  # more than the chunks of any key
SCRATCH_BYTES = MEMOS + 8 * MEMO_BYTES

RANKS, ORDER, SHIFTED = ROOTS, ROOTS + 128, ROOTS + 256
SUMS = PRODUCTS
FITS, SQUARES, UNIT = MAGNITUDES, MAGNITUDES + 64, MAGNITUDES + 128
