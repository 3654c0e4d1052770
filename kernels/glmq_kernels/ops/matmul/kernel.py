"""Matrix products: every row of one or more weight matrices with every token.

32 rows at a time meet the tokens of the row form, then those of the panel form, so that memory is read once.
Where all take the row form and the threads are many, fewer rows do.
What depends on the tensor type is called by address: `gemv.dot_rows` and `gemm.multiply`.
"""

from __future__ import annotations

from ...gemm.panel_form import SECOND_16, multiply, sums_of_token
from ...gemm.row_form import dot_rows, row_form_count
from ...gemm.sizes import ROW_NUMBERS, ROW_TOKENS, ROWS, few
from ...simd.addresses import argument, inline, load_f32, store_f32, store_i64
from ...simd.vectors import load_f32x16, store
from ...threads.argument_record import STATE, record_size
from ...threads.work_units import make_take_by_node, rows_of_unit, share_begin, share_size
from ..batch_state import LOGITS
from .arguments import Matmul, MatmulMatrix

FEW = few()

MATRICES, MATRIX = 8 * record_size(Matmul), 8 * len(MatmulMatrix)
"""Where the matrices' records begin, and the bytes of each."""


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
def _unit(args, matrix, n, in_row_form, first, most, scratch):
    """Up to `most` rows of a matrix from `first` on."""
    state, activation, accumulate = (
        argument(args, STATE),
        argument(args, Matmul.ACTIVATION),
        argument(args, Matmul.ACCUMULATE),
    )
    n_rows, bias = argument(matrix, MatmulMatrix.ROWS), argument(matrix, MatmulMatrix.BIAS)
    out = argument(matrix, MatmulMatrix.OUT)
    out = (out if out else argument(state, LOGITS)) + 4 * first
    stride, count = argument(matrix, MatmulMatrix.ROW_BYTES), min(most, n_rows - first)
    rows = argument(matrix, MatmulMatrix.WEIGHT) + first * stride
    bias_0 = bias + 4 * first if bias else 0
    bias_1 = bias_0 + 64 if bias else 0
    for group in range(0, in_row_form, ROW_TOKENS):
        n_here = min(ROW_TOKENS, in_row_form - group)
        for t in range(n_here):
            store_i64(scratch + ROW_NUMBERS + 8 * t, group + t)
        code = argument(matrix, MatmulMatrix.DOT_ROWS)
        results = dot_rows(code, rows, stride, count, activation, n_here, scratch, 0)
        for t in range(n_here):
            target, found = out + 4 * (group + t) * n_rows, results + 4 * ROWS * t
            _put_16(found, target, bias_0, accumulate, count)
            _put_16(found + 64, target + 64, bias_1, accumulate, count - 16)
    if n > in_row_form:
        sums, code = scratch + argument(args, Matmul.SUMS_OFFSET), argument(matrix, MatmulMatrix.MULTIPLY)
        multiply(code, rows, stride, count, activation, 0, n - in_row_form, scratch, sums)
        for t in range(in_row_form, n):
            target, found = out + 4 * t * n_rows, sums_of_token(sums, t - in_row_form)
            _put_16(found, target, bias_0, accumulate, count)
            _put_16(found + SECOND_16, target + 64, bias_1, accumulate, count - 16)


@inline
def _units_of(matrix, size):
    return (argument(matrix, MatmulMatrix.ROWS) + size - 1) // size


@inline
def _units_of_node(args, node, given):
    """Of all matrices."""
    n_matrices, size, _, _, _ = given
    units = 0
    for m in range(n_matrices):
        units += share_size(args, node, _units_of(args + MATRICES + MATRIX * m, size))
    return units


@inline
def _run_units(args, node, first, last, given):
    """A node's units are those of the first matrix, then those of the second, and so on."""
    n_matrices, size, n, in_row_form, scratch = given
    done = 0
    for m in range(n_matrices):
        matrix = args + MATRICES + MATRIX * m
        units = _units_of(matrix, size)
        begin, here = share_begin(args, node, units), share_size(args, node, units)
        for unit in range(begin + max(first - done, 0), begin + min(last - done, here)):
            _unit(args, matrix, n, in_row_form, unit * size, size, scratch)
        done += here


_take_by_node = make_take_by_node(_units_of_node, _run_units)


def matmul(args, thread, threads):
    """Kernel: out = weight x activation (+ bias), or out += weight x activation, for some matrices."""
    state = argument(args, STATE)
    n = argument(state, argument(args, Matmul.COUNT_SLOT))
    in_row_form = row_form_count(state, n, argument(args, Matmul.ROW_FORM_SLOT), FEW)
    scratch = argument(args, Matmul.SCRATCH) + thread * argument(args, Matmul.SCRATCH_BYTES)
    n_matrices = argument(args, Matmul.N_MATRICES) if n > 0 else 0
    n_rows, size = 0, ROWS
    for m in range(n_matrices):
        n_rows += argument(args + MATRICES + MATRIX * m, MatmulMatrix.ROWS)
    if n == in_row_form:
        size = rows_of_unit(ROWS, n_rows, threads)
    _take_by_node(args, thread, threads, (n_matrices, size, n, in_row_form, scratch))
