"""The memory in which types are made whose blocks are 256 weights (`super_blocks.py`): places in bytes."""

from __future__ import annotations

BLOCK = 256
AT_ONCE = 16
"""Blocks that are worked on together."""

VALUES = 0  # the weights of sixteen blocks, as they lie
IMPORTANCE = VALUES + AT_ONCE * BLOCK * 4  # of the columns of one or two blocks
TURNED_VALUES = IMPORTANCE + 2 * BLOCK * 4  # the weights of these blocks, turned
TURNED_WEIGHTS = TURNED_VALUES + 2 * BLOCK * 4  # of their errors
TRIED_CODES = TURNED_WEIGHTS + 2 * BLOCK * 4
GROUPS = TRIED_CODES + 2 * BLOCK * 4
"""Here begin numbers of groups, those of a block one after the other, for the groups of sixteen blocks."""
PER_GROUP = AT_ONCE * 16 * 4
SCALES, MINIMA, SUMS_OF_WEIGHTS, VARIANCES = (GROUPS + i * PER_GROUP for i in range(4))

BLOCKS = GROUPS + 4 * PER_GROUP + 64
"""Here begin the same turned, a block in each lane, and what is made of them."""
NUMBER_LANES, WEIGHT_LANES, CODE_LANES = (BLOCKS + i * PER_GROUP for i in range(3))

CODES = BLOCKS + 3 * PER_GROUP
"""Here begin the integer codes of scales and minima, as float32, those of a block one after the other."""
SCALE_CODES, MINIMUM_CODES = CODES, CODES + PER_GROUP
BLOCK_SCALES = CODES + 2 * PER_GROUP  # of each block, as they are stored, as float32
BLOCK_MINIMA = BLOCK_SCALES + AT_ONCE * 4
SCALE_BITS = BLOCK_MINIMA + AT_ONCE * 4  # the same as float16
MINIMUM_BITS = SCALE_BITS + AT_ONCE * 2
WEIGHT_CODES = MINIMUM_BITS + AT_ONCE * 2  # of the weights of one block, bytes
FITTED_CODES = WEIGHT_CODES + BLOCK  # those that step 2 found for the weights of sixteen blocks, as float32

SIZE = FITTED_CODES + AT_ONCE * BLOCK * 4
