"""Matrix products: every row of one or more weight matrices with every token.

What depends on the tensor type is called by address: `gemv.dot_rows` and `gemv.dot_rows_4` for up to four
tokens, `product.multiply` for more.
"""

from __future__ import annotations

from ...gemm.sizes import FEW, ROWS
from ...jit import isa
from ...simd.addresses import argument, call_6, call_7, call_8, inline, load_f32, store_f32, store_i64
from ...simd.vectors import load_f32x16, store
from ...threads.argument_record import STATE, record_size
from ...threads.work_units import take
from ..batch_state import LOGITS
from .arguments import Matmul, MatmulMatrix

TILE = isa.current().tile
MATRICES, MATRIX = 8 * record_size(Matmul), 8 * len(MatmulMatrix)
"""Where the matrices' records begin, and the bytes of each."""


@inline
def sums_of_token(sums, i):
    """Where token i's sums with the first 16 of 32 rows are; the others' are TILE * 64 bytes on."""
    return sums + (i // TILE * 2 * TILE + i % TILE) * 64


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
    rows, stride = (
        argument(matrix, MatmulMatrix.WEIGHT) + first * argument(matrix, MatmulMatrix.ROW_BYTES),
        argument(matrix, MatmulMatrix.ROW_BYTES),
    )
    if n == 1:
        call_6(argument(matrix, MatmulMatrix.DOT_ROWS), rows, stride, count, activation, 0, scratch)
    else:
        tokens = scratch + 4 * FEW * ROWS
        for t in range(FEW):
            store_i64(tokens + 8 * t, min(t, n - 1))
        call_7(
            argument(matrix, MatmulMatrix.DOT_ROWS_4),
            rows,
            stride,
            count,
            activation,
            tokens,
            scratch,
            4 * ROWS,
        )


@inline
def _unit(args, matrix, n, first, scratch, sums):
    """32 rows of a matrix."""
    state, activation, accumulate = (
        argument(args, STATE),
        argument(args, Matmul.ACTIVATION),
        argument(args, Matmul.ACCUMULATE),
    )
    n_rows, bias = argument(matrix, MatmulMatrix.ROWS), argument(matrix, MatmulMatrix.BIAS)
    out = (
        argument(matrix, MatmulMatrix.OUT) if argument(matrix, MatmulMatrix.OUT) else argument(state, LOGITS)
    )
    count = min(ROWS, n_rows - first)
    if bias:
        bias += 4 * first
    if n <= FEW:
        _few_tokens(matrix, n, first, count, activation, scratch)
    else:
        stride = argument(matrix, MatmulMatrix.ROW_BYTES)
        rows = argument(matrix, MatmulMatrix.WEIGHT) + first * stride
        call_8(argument(matrix, MatmulMatrix.MULTIPLY), rows, stride, count, activation, 0, n, scratch, sums)
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
    n = argument(argument(args, STATE), argument(args, Matmul.COUNT_SLOT))
    scratch = argument(args, Matmul.SCRATCH) + thread * argument(args, Matmul.SCRATCH_BYTES)
    sums = scratch + argument(args, Matmul.SUMS_OFFSET)
    n_matrices = argument(args, Matmul.N_MATRICES)
    units = 0
    for m in range(n_matrices):
        units += (argument(args + MATRICES + MATRIX * m, MatmulMatrix.ROWS) + ROWS - 1) // ROWS
    first, last = take(args, units if n > 0 else 0, threads)
    while first < last:
        done = 0
        for m in range(n_matrices):
            matrix = args + MATRICES + MATRIX * m
            here = (argument(matrix, MatmulMatrix.ROWS) + ROWS - 1) // ROWS
            for unit in range(max(first - done, 0), min(last - done, here)):
                _unit(args, matrix, n, unit * ROWS, scratch, sums)
            done += here
        first, last = take(args, units, threads)
