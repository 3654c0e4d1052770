"""What the types share whose blocks are 32 weights with a scale: sixteen blocks at a time, a lane for each.

The weights of sixteen blocks become floats as they lie, and are turned to lanes; each block gets its best
scale (and minimum) and codes; these are turned back and packed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import argument, inline, load_f32, store_f32, store_i64
from ...simd.conversions import float_to_half
from ...simd.vectors import divide, load_f32x16, splat_f32x16, store, zero_f32x16, zero_i32x16
from .arguments import QuantizeRows
from .lanes import VECTOR, copy_importance, hidden, turn, weigh
from .small_block_scratch import (
    AT_ONCE,
    BLOCK,
    FITTED_CODES,
    IMPORTANCE,
    TRIED_CODES,
    TURNED_VALUES,
    TURNED_WEIGHTS,
    VALUES,
    VARIANCES,
)
from .source import larger, largest_lane, load_16, magnitude_bits


@inline
def row_variances(source, kind, first_row, rows, columns, scratch):
    """The mean of x² of each of sixteen rows, the last of which may stand for several."""
    squares = zero_f32x16()
    for first in range(0, columns, 16):
        for i in range(hidden(16)):
            row = first_row + min(i, rows - 1)
            store(scratch + VALUES + VECTOR * i, load_16(source, kind, row * columns + first))
        turn(scratch + VALUES, VECTOR, scratch + TURNED_VALUES, VECTOR, 16, 16)
        for i in range(0, hidden(16 * VECTOR), VECTOR):
            v = load_f32x16(scratch + TURNED_VALUES + i)
            squares = squares + v * v
    store(scratch + VARIANCES, divide(squares, splat_f32x16(np.float32(columns))))


@inline
def load(source, kind, first, count, values, worst):
    """Put `count` blocks of weights, from number `first` on, where they are worked on."""
    for i in range(2 * count):
        v = load_16(source, kind, BLOCK * first + 16 * i)
        worst = larger(worst, magnitude_bits(v))
        store(values + VECTOR * i, v)
    return worst


@inline
def load_importance(importance, columns, block, scratch):
    """Turn the importance of the columns of sixteen blocks to where the weights of errors are wanted."""
    copy_importance(importance, columns, BLOCK * block, BLOCK, AT_ONCE, scratch + IMPORTANCE)
    turn(scratch + IMPORTANCE, 4 * BLOCK, scratch + TURNED_WEIGHTS, VECTOR, AT_ONCE, BLOCK)


@inline
def weigh_by_rows(scratch, block, columns, first_row):
    """Weights of errors by importance, with the variance of each block's row."""
    variances = scratch + IMPORTANCE  # which is turned, so its place is free
    for i in range(AT_ONCE):
        row = min(BLOCK * (block + i) // columns - first_row, AT_ONCE - 1)
        store_f32(variances + 4 * i, load_f32(scratch + VARIANCES + 4 * row))
    weigh(scratch + TURNED_VALUES, scratch + TURNED_WEIGHTS, load_f32x16(variances), BLOCK)


def make_quantize_by_rows(block_bytes: int, write_alone: Any, fit: Any, write: Any) -> Any:
    """Kernel: weights to blocks of 32 of a type whose σ² is that of a row.

    `write_alone(low, high, largest, out)` packs a block without importance: two vectors of weights, the bits
    of the largest magnitude. With importance, `fit(scratch)` finds the codes of sixteen blocks and puts them
    and the numbers of the blocks where they belong; `write(scratch, i, out)` packs block i.
    """

    @inline
    def quantize_alone(source, kind, n_blocks, out):
        worst = zero_i32x16()
        for i in range(n_blocks):
            low, high = load_16(source, kind, BLOCK * i), load_16(source, kind, BLOCK * i + 16)
            largest = larger(magnitude_bits(low), magnitude_bits(high))
            worst = larger(worst, largest)
            write_alone(low, high, largest_lane(largest), out + block_bytes * i)
        return worst

    @inline
    def quantize_weighed(source, kind, n_blocks, columns, importance, scratch, out):
        worst = zero_i32x16()
        rows = n_blocks * BLOCK // columns
        for first_row in range(0, rows, AT_ONCE):
            n_rows = min(AT_ONCE, rows - first_row)
            row_variances(source, kind, first_row, n_rows, columns, scratch)
            end = (first_row + n_rows) * columns // BLOCK
            for block in range(first_row * columns // BLOCK, end, AT_ONCE):
                count = min(AT_ONCE, end - block)
                worst = load(source, kind, block, count, scratch + VALUES, worst)
                turn(scratch + VALUES, 4 * BLOCK, scratch + TURNED_VALUES, VECTOR, AT_ONCE, BLOCK)
                load_importance(importance, columns, block, scratch)
                weigh_by_rows(scratch, block, columns, first_row)
                fit(scratch)
                turn(scratch + TRIED_CODES, VECTOR, scratch + FITTED_CODES, 4 * BLOCK, BLOCK, AT_ONCE)
                for i in range(count):
                    write(scratch, i, out + block_bytes * (block + i))
        return worst

    def kernel(args, thread, threads):
        source, kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
        n_blocks, out = argument(args, QuantizeRows.N_WEIGHTS) // BLOCK, argument(args, QuantizeRows.OUT)
        columns, importance = argument(args, QuantizeRows.COLUMNS), argument(args, QuantizeRows.IMPORTANCE)
        scratch = argument(args, QuantizeRows.SCRATCH)
        if importance:
            worst = quantize_weighed(source, kind, n_blocks, columns, importance, scratch, out)
        else:
            worst = quantize_alone(source, kind, n_blocks, out)
        store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))

    return kernel


@inline
def store_halves(scratch, numbers, v):
    """Keep a number of each of sixteen blocks as float16."""
    store(scratch + numbers, float_to_half(v))
