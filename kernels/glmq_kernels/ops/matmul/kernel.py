"""Matrix products: every row of one or more weight matrices with every token.

Some rows at a time meet the tokens of the row form, then those of the panel form, so that memory is read
once: 32, or more where panels want that. Where all take the row form and the threads are many, fewer rows do.
What depends on the tensor type is called by address: `gemv.dot_rows` and `gemm.multiply`.
"""

from __future__ import annotations

from ...gemm.panel_form import SECOND_16, multiply, sums_of_rows, sums_of_token
from ...gemm.row_form import dot_rows, row_form_count
from ...gemm.sizes import ROW_NUMBERS, ROW_TOKENS, ROWS, few, panel_rows
from ...simd.addresses import argument, inline, load_f32, store_f32, store_i64
from ...simd.vectors import load_f32x16, store
from ...threads.argument_record import STATE, record_size
from ...threads.work_units import make_take_by_node, rows_of_panel_unit, rows_of_unit, share_begin, share_size
from ..batch_state import LOGITS
from .arguments import Matmul, MatmulMatrix

FEW, PANEL_ROWS = few(), panel_rows()

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
def _put_32(args, matrix, found, second, t, first, last):
    """A token's results with up to 32 rows to their place."""
    n_rows, bias = argument(matrix, MatmulMatrix.ROWS), argument(matrix, MatmulMatrix.BIAS)
    out, accumulate = argument(matrix, MatmulMatrix.OUT), argument(args, Matmul.ACCUMULATE)
    target = (out if out else argument(argument(args, STATE), LOGITS)) + 4 * (t * n_rows + first)
    bias_0 = bias + 4 * first if bias else 0
    bias_1 = bias_0 + 64 if bias else 0
    _put_16(found, target, bias_0, accumulate, last - first)
    _put_16(second, target + 64, bias_1, accumulate, last - first - 16)


@inline
def _row_form(args, matrix, in_row_form, first, last, scratch):
    """Up to 32 rows of a matrix with the tokens of the row form."""
    stride = argument(matrix, MatmulMatrix.ROW_BYTES)
    rows = argument(matrix, MatmulMatrix.WEIGHT) + first * stride
    activation, code = argument(args, Matmul.ACTIVATION), argument(matrix, MatmulMatrix.DOT_ROWS)
    for group in range(0, in_row_form, ROW_TOKENS):
        n_here = min(ROW_TOKENS, in_row_form - group)
        for t in range(n_here):
            store_i64(scratch + ROW_NUMBERS + 8 * t, group + t)
        results = dot_rows(code, rows, stride, last - first, activation, n_here, scratch, 0)
        for t in range(n_here):
            found = results + 4 * ROWS * t
            _put_32(args, matrix, found, found + 64, group + t, first, last)


@inline
def _panel_form(args, matrix, n, in_row_form, first, last, scratch):
    """Some rows of a matrix with the tokens of the panel form."""
    stride = argument(matrix, MatmulMatrix.ROW_BYTES)
    rows = argument(matrix, MatmulMatrix.WEIGHT) + first * stride
    activation, code = argument(args, Matmul.ACTIVATION), argument(matrix, MatmulMatrix.MULTIPLY)
    sums, n_tokens = scratch + argument(args, Matmul.SUMS_OFFSET), n - in_row_form
    multiply(code, rows, stride, last - first, activation, 0, n_tokens, scratch, sums)
    for row in range(first, last, ROWS):
        for t in range(n_tokens):
            found = sums_of_token(sums_of_rows(sums, row - first, n_tokens), t)
            _put_32(args, matrix, found, found + SECOND_16, in_row_form + t, row, min(row + ROWS, last))


@inline
def _unit(args, matrix, n, in_row_form, first, most, scratch):
    """Up to `most` rows of a matrix from `first` on."""
    last = min(first + most, argument(matrix, MatmulMatrix.ROWS))
    for row in range(first, last if in_row_form else first, ROWS):
        _row_form(args, matrix, in_row_form, row, min(row + ROWS, last), scratch)
    if n > in_row_form:
        _panel_form(args, matrix, n, in_row_form, first, last, scratch)


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
    n_rows = 0
    for m in range(n_matrices):
        n_rows += argument(args + MATRICES + MATRIX * m, MatmulMatrix.ROWS)
    if n == in_row_form:
        size = rows_of_unit(ROWS, n_rows, threads)
    else:
        size = rows_of_panel_unit(ROWS, PANEL_ROWS, n_rows, threads)
    _take_by_node(args, thread, threads, (n_matrices, size, n, in_row_form, scratch))
