"""The row form of products, for kernels: rows of a matrix times any number of tokens, in groups.

A thread's scratch begins with

    ROW_RESULTS     float32 [2][ROW_TOKENS][ROWS]: results, of two matrices where an operation has two
    ROW_NUMBERS     int64 (ROW_TOKENS,): rows of the activation
    ROW_SUMS        what `gemm/gemv.py` works on
"""

from __future__ import annotations

from ..simd.addresses import argument, call_8, inline
from .sizes import ROW_NUMBERS, ROW_RESULTS_BYTES, ROW_SUMS


@inline
def row_form_count(state, count, row_form_slot, few):
    """How many of `count` rows take the row form: as many as the state says, or all if few are left."""
    in_row_form = min(argument(state, row_form_slot), count)
    return in_row_form if count - in_row_form > few else count


@inline
def dot_rows(code, rows, stride, count, activation, n_tokens, scratch, which):
    """Rows times the tokens at ROW_NUMBERS; gives the address of the results, float32 [token][ROWS]."""
    out = scratch + ROW_RESULTS_BYTES * which
    call_8(code, rows, stride, count, activation, scratch + ROW_NUMBERS, n_tokens, out, scratch + ROW_SUMS)
    return out
