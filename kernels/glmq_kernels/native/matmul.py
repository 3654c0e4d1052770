"""Matrix products: every row of one or more weight matrices with every token.

What depends on the tensor type is called by address: `gemv.dot_rows` and `gemv.dot_rows_4` for up to four
tokens, `product.multiply` for more.
"""

from __future__ import annotations

from .. import isa
from ..slots import LOGITS
from ..tiles import FEW, ROWS
from .memory import argument, call_6, call_7, call_8, inline, load_f32, store_f32, store_i64
from .simd import load_f32x16, store

TILE = isa.current().tile
MATRIX_ARGUMENTS = 8
"""Arguments of each matrix, from the eighth on."""


@inline
def sums_of_token(sums, i):
    """Where token i's sums with the first 16 of 32 rows are; the others' are TILE * 64 bytes on."""
    return sums + (i // TILE * 2 * TILE + i % TILE) * 64


@inline
def share_rows(n_rows, thread, threads):
    """The rows of one thread, in units of 32. The same for every product with as many rows."""
    units = (n_rows + ROWS - 1) // ROWS
    return units * thread // threads * ROWS, min(units * (thread + 1) // threads * ROWS, n_rows)


@inline
def _put_16(sums, out, bias, accumulate, count):
    """Out = sums + bias, or out += sums, for `count` of 16 rows."""
    if count >= 16:
        value = load_f32x16(sums)
        if bias:
            value = value + load_f32x16(bias)
        if accumulate:
            value = value + load_f32x16(out)
        store(out, value)
    else:
        for i in range(count):
            single = load_f32(sums + 4 * i)
            if bias:
                single += load_f32(bias + 4 * i)
            if accumulate:
                single += load_f32(out + 4 * i)
            store_f32(out + 4 * i, single)


@inline
def _few_tokens(matrix, n, first, count, activation, scratch):
    """Rows times up to four tokens: float32 [token][32 rows] at `scratch`."""
    rows, stride = argument(matrix, 0) + first * argument(matrix, 1), argument(matrix, 1)
    if n == 1:
        call_6(argument(matrix, 5), rows, stride, count, activation, 0, scratch)
    else:
        tokens = scratch + 4 * FEW * ROWS
        for t in range(FEW):
            store_i64(tokens + 8 * t, min(t, n - 1))
        call_7(argument(matrix, 6), rows, stride, count, activation, tokens, scratch, 4 * ROWS)


@inline
def _unit(args, matrix, n, first, scratch, sums):
    """32 rows of a matrix."""
    state, activation, accumulate = argument(args, 0), argument(args, 2), argument(args, 3)
    n_rows, bias = argument(matrix, 2), argument(matrix, 4)
    out = argument(matrix, 3) if argument(matrix, 3) else argument(state, LOGITS)
    count = min(ROWS, n_rows - first)
    if bias:
        bias += 4 * first
    if n <= FEW:
        _few_tokens(matrix, n, first, count, activation, scratch)
    else:
        stride = argument(matrix, 1)
        rows = argument(matrix, 0) + first * stride
        call_8(argument(matrix, 7), rows, stride, count, activation, 0, n, scratch, sums)
    second = bias + 64 if bias else 0
    for t in range(n):
        target = out + 4 * (t * n_rows + first)
        if n <= FEW:
            found = scratch + 4 * ROWS * t
            _put_16(found, target, bias, accumulate, count)
            _put_16(found + 64, target + 64, second, accumulate, count - 16)
        else:
            found = sums_of_token(sums, t)
            _put_16(found, target, bias, accumulate, count)
            _put_16(found + 64 * TILE, target + 64, second, accumulate, count - 16)


def matmul(args, thread, threads):
    """Kernel: out = weight x activation (+ bias), or out += weight x activation, for some matrices.

    Arguments: state, state slot of the token count, activation, accumulate (0 or 1), scratch, scratch
    bytes of a thread, offset of the sums in it, number of matrices; then for each: weight, bytes of a
    row, rows, out (float32 (n, rows); 0: the state's logits), bias (float32 (rows,) or 0), and addresses
    of `gemv.dot_rows`, `gemv.dot_rows_4` and `product.multiply` of its type.
    """
    n = argument(argument(args, 0), argument(args, 1))
    scratch = argument(args, 4) + thread * argument(args, 5)
    sums = scratch + argument(args, 6)
    n_matrices = argument(args, 7)
    units = 0
    for m in range(n_matrices):
        units += (argument(args, 8 + MATRIX_ARGUMENTS * m + 2) + ROWS - 1) // ROWS
    begin, end = units * thread // threads, units * (thread + 1) // threads
    done = 0
    for m in range(n_matrices):
        matrix = args + 8 * (8 + MATRIX_ARGUMENTS * m)
        here = (argument(matrix, 2) + ROWS - 1) // ROWS
        if n > 0:
            for unit in range(max(begin - done, 0), min(end - done, here)):
                _unit(args, matrix, n, unit * ROWS, scratch, sums)
        done += here
