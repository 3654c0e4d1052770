"""Sums of squares of the inputs of matrices, by column.

    without routing     row t * n_heads + h is head h of token t, and meets matrix h; or there is one for all
    with routing        a matrix is an expert; its rows are those of its tokens, or rows stand by place

One thread adds up some columns of a matrix over all rows, in their order, so that sums are the same whatever
the number of threads.
"""

from __future__ import annotations

from ...simd.addresses import argument, inline, load_f32, load_i64, store_f32, store_i64
from ...simd.vectors import fma, load_f32x16, store, zero_f32x16
from ...threads.argument_record import STATE
from ...threads.work_units import take
from ..routing.places import entry, has_turn, n_entries, token_at
from .arguments import SumSquares

COLUMNS = 64
"""That are added up at once."""


@inline
def _row(args, n, first, i, matrix):
    """Address of a matrix's i-th row, whose first is at place `first`."""
    routing, place = argument(args, SumSquares.ROUTING), first + i
    if not routing:
        place = i * argument(args, SumSquares.N_HEADS) + matrix
    elif not argument(args, SumSquares.BY_PLACE):
        place = token_at(routing, place, n)
    return argument(args, SumSquares.SOURCE) + 4 * argument(args, SumSquares.COLUMNS) * place


@inline
def _add_16(total, out):
    store(out, load_f32x16(out) + total)


@inline
def _add_columns(args, n, matrix, first, count, begin):
    """Add the squares of up to 64 columns of a matrix's rows."""
    n_columns = argument(args, SumSquares.COLUMNS)
    out = argument(args, SumSquares.SUMS) + 4 * (n_columns * matrix + begin)
    if begin + COLUMNS <= n_columns:
        a, b, c, d = zero_f32x16(), zero_f32x16(), zero_f32x16(), zero_f32x16()
        for i in range(count):
            row = _row(args, n, first, i, matrix) + 4 * begin
            x0, x1 = load_f32x16(row), load_f32x16(row + 64)
            x2, x3 = load_f32x16(row + 128), load_f32x16(row + 192)
            a, b, c, d = fma(x0, x0, a), fma(x1, x1, b), fma(x2, x2, c), fma(x3, x3, d)
        _add_16(a, out)
        _add_16(b, out + 64)
        _add_16(c, out + 128)
        _add_16(d, out + 192)
    else:
        for column in range(n_columns - begin):
            total = load_f32(out + 4 * column)
            for i in range(count):
                x = load_f32(_row(args, n, first, i, matrix) + 4 * (begin + column))
                total += x * x
            store_f32(out + 4 * column, total)


def sum_squares(args, thread, threads):
    """Kernel: sums += squares of rows, counts += rows. Takes `SumSquares`."""
    n = argument(argument(args, STATE), argument(args, SumSquares.COUNT_SLOT))
    routing = argument(args, SumSquares.ROUTING)
    per_matrix = (argument(args, SumSquares.COLUMNS) + COLUMNS - 1) // COLUMNS
    n_matrices = n_entries(routing, n) if routing else argument(args, SumSquares.N_HEADS)
    units = per_matrix * n_matrices if n > 0 and has_turn(argument(args, SumSquares.AFTER)) else 0
    begin, end = take(args, units, threads)
    while begin < end:
        for unit in range(begin, end):
            i, block = unit // per_matrix, unit % per_matrix
            matrix, first, count, _, _ = entry(routing, i, n, 0)
            if not routing:
                matrix = i
            _add_columns(args, n, matrix, first, count, COLUMNS * block)
            if block == 0:
                counted = argument(args, SumSquares.COUNTS) + 8 * matrix
                store_i64(counted, load_i64(counted) + count)
        begin, end = take(args, units, threads)
