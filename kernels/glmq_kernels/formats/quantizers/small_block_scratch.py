"""The memory in which types are made whose blocks are 32 weights (`small_blocks.py`): places in bytes."""

from __future__ import annotations

BLOCK = 32
AT_ONCE = 16
"""Blocks that are worked on together, and rows whose variances are found together."""

VALUES = 0  # the weights of sixteen blocks, as they lie
IMPORTANCE = VALUES + AT_ONCE * BLOCK * 4  # of their columns
TURNED_VALUES = IMPORTANCE + AT_ONCE * BLOCK * 4
TURNED_WEIGHTS = TURNED_VALUES + AT_ONCE * BLOCK * 4  # of errors
TRIED_CODES = TURNED_WEIGHTS + AT_ONCE * BLOCK * 4
FITTED_CODES = TRIED_CODES + AT_ONCE * BLOCK * 4  # the same as the weights lie
VARIANCES = FITTED_CODES + AT_ONCE * BLOCK * 4  # of sixteen rows, σ²
SCALES = VARIANCES + 64  # of sixteen blocks
SCALE_BITS = SCALES + 64  # the same as float16
MINIMUM_BITS = SCALE_BITS + 64 // 2

SIZE = MINIMUM_BITS + 64 // 2
