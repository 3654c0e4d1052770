"""Products of each attention head with a matrix of its own.

gather_heads      head h of token t  ->  row t * n_heads + h of an activation, and a place in tiles:

                  tiles of head 0 | tiles of head 1 | ...      each as many as the tokens of panels fill

multiply_heads    32 rows of a head's matrix meet the tokens of the row form, then those of the panels
"""

from __future__ import annotations

from ...gemm.activation import prepare
from ...gemm.activation_record import ACTIVATION_COLUMNS, ACTIVATION_ROWS
from ...gemm.panel_form import SECOND_16, TILE, multiply, sums_of_token
from ...gemm.row_form import dot_rows, row_form_count
from ...gemm.sizes import ROW_NUMBERS, ROW_TOKENS, ROWS, few
from ...simd.addresses import argument, inline, store_i64
from ...threads.argument_record import STATE
from ...threads.work_units import make_take_by_node, share_begin, share_size
from ..activation.kernel import prepare_row
from ..batch_state import N_TOKENS
from ..row_copy import copy_row
from .arguments import GatherHeads, MultiplyHeads

FEW = few()


@inline
def _tiles_of_head(n, in_row_form):
    return (n - in_row_form + TILE - 1) // TILE


def gather_heads(args, thread, threads):
    """Bring heads together as rows of an activation, prepared for products. Takes `GatherHeads`.

    Those of a single token are brought together by every thread for itself, so that none need wait.
    """
    state, heads = argument(args, STATE), argument(args, GatherHeads.HEADS)
    n = argument(state, argument(args, GatherHeads.COUNT_SLOT))
    in_row_form = min(argument(state, argument(args, GatherHeads.ROW_FORM_SLOT)), n)
    n_heads, columns = argument(args, GatherHeads.N_HEADS), argument(heads, ACTIVATION_COLUMNS)
    source_columns, out_columns = (
        argument(args, GatherHeads.SOURCE_COLUMNS),
        argument(args, GatherHeads.OUT_COLUMNS),
    )
    rest = source_columns - columns
    if argument(state, N_TOKENS) == 1:
        thread, threads = 0, 1
    for row in range(n * n_heads * thread // threads, n * n_heads * (thread + 1) // threads):
        t, head = row // n_heads, row % n_heads
        source = argument(args, GatherHeads.SOURCE) + 4 * source_columns * row
        copy_row(source, argument(heads, ACTIVATION_ROWS) + 4 * columns * row, columns)
        place = t - in_row_form
        tile = head * _tiles_of_head(n, in_row_form) + place // TILE if place >= 0 else -1
        prepare(heads, row, tile, place % TILE, 0, columns)
        if argument(args, GatherHeads.OUT):
            out = argument(args, GatherHeads.OUT) + 4 * (out_columns * (row + 1) - rest)
            copy_row(source + 4 * columns, out, rest)


@inline
def _put(args, found, second, t, head, first, count):
    """A token's 32 results to their place."""
    columns, n_heads = argument(args, MultiplyHeads.OUT_COLUMNS), argument(args, MultiplyHeads.N_HEADS)
    out = argument(args, MultiplyHeads.OUT) + 4 * (columns * (t * n_heads + head) + first)
    copy_row(found, out, min(count, 16))
    if count > 16:
        copy_row(second, out + 64, count - 16)


@inline
def _prepare_columns(args, n, in_row_form, head, first, count):
    """Prepare what was written of a head for the next product."""
    prepared = argument(args, MultiplyHeads.PREPARED)
    if prepared:
        begin = argument(args, MultiplyHeads.OUT_COLUMNS) * head + first
        for t in range(n):
            prepare_row(prepared, t, in_row_form, begin, begin + count)


@inline
def _unit(args, n, in_row_form, head, first, scratch):
    """32 rows of a head's matrix with that head of all tokens."""
    state, heads = argument(args, STATE), argument(args, MultiplyHeads.HEADS)
    n_heads, stride = argument(args, MultiplyHeads.N_HEADS), argument(args, MultiplyHeads.ROW_BYTES)
    rows = argument(args, MultiplyHeads.WEIGHT) + argument(args, MultiplyHeads.HEAD_BYTES) * head
    rows += stride * first
    count = min(ROWS, argument(args, MultiplyHeads.ROWS) - first)
    in_rows = row_form_count(state, n, argument(args, MultiplyHeads.ROW_FORM_SLOT), FEW)
    for group in range(0, in_rows, ROW_TOKENS):
        n_here = min(ROW_TOKENS, in_rows - group)
        for t in range(n_here):
            store_i64(scratch + ROW_NUMBERS + 8 * t, (group + t) * n_heads + head)
        code = argument(args, MultiplyHeads.DOT_ROWS)
        results = dot_rows(code, rows, stride, count, heads, n_here, scratch, 0)
        for t in range(n_here):
            found = results + 4 * ROWS * t
            _put(args, found, found + 64, group + t, head, first, count)
    if n > in_rows:
        sums, code = (
            scratch + argument(args, MultiplyHeads.SUMS_OFFSET),
            argument(args, MultiplyHeads.MULTIPLY),
        )
        tile = head * _tiles_of_head(n, in_row_form)
        multiply(code, rows, stride, count, heads, tile, n - in_rows, scratch, sums)
        for t in range(in_rows, n):
            found = sums_of_token(sums, t - in_rows)
            _put(args, found, found + SECOND_16, t, head, first, count)
    _prepare_columns(args, n, in_row_form, head, first, count)


@inline
def _units_of_node(args, node, given):
    _, units, _, _, _ = given
    return share_size(args, node, units)


@inline
def _run_units(args, node, first, last, given):
    per_head, units, n, in_row_form, scratch = given
    begin = share_begin(args, node, units)
    for unit in range(begin + first, begin + last):
        _unit(args, n, in_row_form, unit // per_head, unit % per_head * ROWS, scratch)


_take_by_node = make_take_by_node(_units_of_node, _run_units)


def multiply_heads(args, thread, threads):
    """Kernel: out = each head's matrix x that head of every token. Takes `MultiplyHeads`."""
    state = argument(args, STATE)
    n = argument(state, argument(args, MultiplyHeads.COUNT_SLOT))
    in_row_form = min(argument(state, argument(args, MultiplyHeads.ROW_FORM_SLOT)), n)
    scratch = argument(args, MultiplyHeads.SCRATCH) + thread * argument(args, MultiplyHeads.SCRATCH_BYTES)
    per_head = (argument(args, MultiplyHeads.ROWS) + ROWS - 1) // ROWS
    units = per_head * argument(args, MultiplyHeads.N_HEADS) if n > 0 else 0
    _take_by_node(args, thread, threads, (per_head, units, n, in_row_form, scratch))
