"""Gated feed-forward networks: down(silu(gate x) * up x), dense or by routed experts.

A dense network is one expert that takes every token with weight 1 (`routing` 0). The experts' matrices
are found through a table of addresses, int64 (n_experts, 3): gate, up, down. Each expert takes all its tokens
at once, those of the row form before those of the panel form, and the threads share the work of all experts.
A run may be for some only of the routed experts (`Routing.select_choices`, `select_experts`).
"""

from __future__ import annotations

from ...gemm.activation import prepare
from ...gemm.activation_record import ACTIVATION_ROWS
from ...gemm.panel_form import SECOND_16, TILE, multiply, sums_of_rows, sums_of_token
from ...gemm.row_form import dot_rows, row_form_count
from ...gemm.sizes import ROW_NUMBERS, ROW_TOKENS, ROWS, few, panel_rows
from ...jit import isa
from ...simd.addresses import argument, inline, load_f32, store_f32, store_i64
from ...simd.mathematics import silu
from ...simd.vectors import fma, load_f32x16, splat_f32x16, store
from ...threads.argument_record import STATE, record_size
from ...threads.work_units import (
    make_take_by_node,
    rows_of_panel_unit,
    rows_of_unit,
    share_begin,
    share_size,
)
from ..routing.places import assignment_at, entry, has_turn, n_entries, token_at
from ..routing.record import ROUTING_TOP_K, ROUTING_WEIGHTS
from .arguments import Down, DownNetwork, GateUp, NetworkMatrix

FEW, PANEL_ROWS = few(), panel_rows()
GATE = 8 * record_size(GateUp)
UP = GATE + 8 * len(NetworkMatrix)
NETWORKS, NETWORK = 8 * record_size(Down), 8 * len(DownNetwork)
"""Where the matrices' records begin, and the bytes of a network's."""

GROUP_WORK, TOKEN_WORK = 5, 2
"""What unpacking for a group of tokens in the row form costs, and each of them."""

PANEL_WORK, TILE_WORK = (24, 4) if isa.current().amx else (15, 6)
"""What unpacking a panel costs, and multiplying a tile with it."""


@inline
def _work_of(count, in_row_form):
    """Of 32 rows with an expert's tokens."""
    work = (in_row_form + ROW_TOKENS - 1) // ROW_TOKENS * GROUP_WORK + in_row_form * TOKEN_WORK
    if count > in_row_form:
        work += PANEL_WORK + (count - in_row_form + TILE - 1) // TILE * TILE_WORK
    return work


@inline
def _multiply(matrix, rows, count, activation, tile, n_tokens, scratch, sums):
    code, stride = argument(matrix, NetworkMatrix.MULTIPLY), argument(matrix, NetworkMatrix.ROW_BYTES)
    multiply(code, rows, stride, count, activation, tile, n_tokens, scratch, sums)


@inline
def _gated(gate, up, out, count):
    """out = silu(gate) * up for `count` of 16; the 16 at `gate` are overwritten where they are fewer."""
    value = silu(load_f32x16(gate)) * load_f32x16(up)
    if count >= 16:
        store(out, value)
    else:
        store(gate, value)
        for i in range(count):
            store_f32(out + 4 * i, load_f32(gate + 4 * i))


@inline
def _gate_up_rows(args, gate_rows, up_rows, r, left, n, first, in_row_form, scratch):
    """32 rows of gate and up for an expert's tokens in the row form."""
    routing, activation, hidden = (
        argument(args, GateUp.ROUTING),
        argument(args, GateUp.ACTIVATION),
        argument(args, GateUp.HIDDEN),
    )
    gate, up, n_rows = args + GATE, args + UP, argument(args, GateUp.ROWS)
    for group in range(first, first + in_row_form, ROW_TOKENS):
        n_here = min(ROW_TOKENS, first + in_row_form - group)
        for t in range(n_here):
            store_i64(scratch + ROW_NUMBERS + 8 * t, token_at(routing, group + t, n))
        code, stride = argument(gate, NetworkMatrix.DOT_ROWS), argument(gate, NetworkMatrix.ROW_BYTES)
        gates = dot_rows(code, gate_rows, stride, left, activation, n_here, scratch, 0)
        code, stride = argument(up, NetworkMatrix.DOT_ROWS), argument(up, NetworkMatrix.ROW_BYTES)
        ups = dot_rows(code, up_rows, stride, left, activation, n_here, scratch, 1)
        for t in range(n_here):
            a, b = gates + 4 * ROWS * t, ups + 4 * ROWS * t
            out = argument(hidden, ACTIVATION_ROWS) + 4 * ((group + t) * n_rows + r)
            _gated(a, b, out, left)
            _gated(a + 64, b + 64, out + 64, left - 16)
            prepare(hidden, group + t, -1, 0, r, r + left)


@inline
def _gate_up_panels(args, gate_rows, up_rows, r, left, first, count, tile, scratch):
    """Some rows of gate and up for an expert's tokens in the panel form."""
    gathered, hidden = argument(args, GateUp.GATHERED), argument(args, GateUp.HIDDEN)
    gate, up, n_rows = args + GATE, args + UP, argument(args, GateUp.ROWS)
    gates = scratch + argument(args, GateUp.SUMS_OFFSET)
    ups = sums_of_rows(gates, left + ROWS - 1, count)
    _multiply(gate, gate_rows, left, gathered, tile, count, scratch, gates)
    _multiply(up, up_rows, left, gathered, tile, count, scratch, ups)
    for row in range(0, left, ROWS):
        here = min(ROWS, left - row)
        for i in range(count):
            a, b = (
                sums_of_token(sums_of_rows(gates, row, count), i),
                sums_of_token(sums_of_rows(ups, row, count), i),
            )
            out = argument(hidden, ACTIVATION_ROWS) + 4 * ((first + i) * n_rows + r + row)
            _gated(a, b, out, here)
            _gated(a + SECOND_16, b + SECOND_16, out + 64, here - 16)
            prepare(hidden, first + i, tile + i // TILE, i % TILE, r + row, r + row + here)


@inline
def _gate_up_unit(args, expert, r, size, n, first, count, in_row_form, tile, scratch):
    """Up to `size` rows of one expert for all its tokens."""
    matrices, left = argument(args, GateUp.TABLE) + 24 * expert, min(size, argument(args, GateUp.ROWS) - r)
    gate_stride, up_stride = (
        argument(args + GATE, NetworkMatrix.ROW_BYTES),
        argument(args + UP, NetworkMatrix.ROW_BYTES),
    )
    gate_rows, up_rows = argument(matrices, 0) + r * gate_stride, argument(matrices, 1) + r * up_stride
    for row in range(0, left if in_row_form else 0, ROWS):
        here, gates, ups = min(ROWS, left - row), gate_rows + row * gate_stride, up_rows + row * up_stride
        _gate_up_rows(args, gates, ups, r + row, here, n, first, in_row_form, scratch)
    if count > in_row_form:
        first, count = first + in_row_form, count - in_row_form
        _gate_up_panels(args, gate_rows, up_rows, r, left, first, count, tile, scratch)


@inline
def _gate_up_share(args, size, n, in_row_form, first_unit, per_expert, begin, end, scratch):
    """The units whose work begins at `begin` up to `end` of the work on `per_expert` units of each expert."""
    routing = argument(args, GateUp.ROUTING)
    done = 0
    for i in range(n_entries(routing, n)):
        expert, first, count, in_rows, tile = entry(routing, i, n, in_row_form)
        work = _work_of(count, in_rows)
        if work:
            from_unit = max(0, (begin - done + work - 1) // work)
            to_unit = min(per_expert, (end - done + work - 1) // work)
            for unit in range(first_unit + from_unit, first_unit + to_unit):
                _gate_up_unit(args, expert, unit * size, size, n, first, count, in_rows, tile, scratch)
            done += per_expert * work


@inline
def _gate_up_units_of_node(args, node, given):
    """As many units as its rows have with all experts that are met."""
    of_matrix, _, n_met, _, _, _, _ = given
    return share_size(args, node, of_matrix) * n_met


@inline
def _run_gate_up_units(args, node, begin, end, given):
    """Units of equal work, of which an expert with many tokens has more."""
    of_matrix, work, n_met, size, n, in_row_form, scratch = given
    first, here = share_begin(args, node, of_matrix), share_size(args, node, of_matrix)
    units, whole = here * n_met, here * work
    from_work, to_work = whole * begin // units, whole * end // units
    _gate_up_share(args, size, n, in_row_form, first, here, from_work, to_work, scratch)


_take_gate_up_by_node = make_take_by_node(_gate_up_units_of_node, _run_gate_up_units)


def gate_up(args, thread, threads):
    """Kernel: hidden = silu(gate x) * up x, prepared for the down product."""
    state, routing = argument(args, STATE), argument(args, GateUp.ROUTING)
    n = argument(state, argument(args, GateUp.COUNT_SLOT))
    in_row_form = row_form_count(state, n, argument(args, GateUp.ROW_FORM_SLOT), FEW)
    scratch = argument(args, GateUp.SCRATCH) + thread * argument(args, GateUp.SCRATCH_BYTES)
    n_rows, size = argument(args, GateUp.ROWS), ROWS
    if not routing and n > in_row_form:
        size = rows_of_panel_unit(ROWS, PANEL_ROWS, n_rows, threads)
    of_matrix = (n_rows + size - 1) // size
    work, n_met = 0, 0
    for i in range(n_entries(routing, n) if n > 0 else 0):
        _, _, count, in_rows, _ = entry(routing, i, n, in_row_form)
        work += _work_of(count, in_rows)
        n_met += 1 if count else 0
    _take_gate_up_by_node(args, thread, threads, (of_matrix, work, n_met, size, n, in_row_form, scratch))


@inline
def _add_scaled(found, weight, out, count):
    """Out += weight * found for `count` of 16."""
    if count >= 16:
        store(out, fma(load_f32x16(found), splat_f32x16(weight), load_f32x16(out)))
    else:
        for i in range(count):
            store_f32(out + 4 * i, load_f32(out + 4 * i) + weight * load_f32(found + 4 * i))


@inline
def _add_to_token(args, network, found, second, place, n, r, left):
    """32 results of a place to its token's row of the output."""
    routing, token, weight = argument(network, DownNetwork.ROUTING), place, 1.0
    if routing:
        assignment = assignment_at(routing, place, n)
        token = assignment // argument(routing, ROUTING_TOP_K)
        weight = load_f32(argument(routing, ROUTING_WEIGHTS) + 4 * assignment)
    out = argument(args, Down.OUT) + 4 * (token * argument(args, Down.ROWS) + r)
    _add_scaled(found, weight, out, left)
    _add_scaled(second, weight, out + 64, left - 16)


@inline
def _down_unit(args, network, expert, r, most, n, first, count, in_row_form, tile, scratch):
    """Up to `most` rows of one expert, from row r on, for all its tokens."""
    hidden, left = argument(network, DownNetwork.HIDDEN), min(most, argument(args, Down.ROWS) - r)
    stride = argument(network, DownNetwork.ROW_BYTES)
    rows = argument(argument(network, DownNetwork.TABLE), 3 * expert + 2) + r * stride
    for row in range(0, left if in_row_form else 0, ROWS):
        at, here = rows + row * stride, min(ROWS, left - row)
        _down_row_form(args, network, at, r + row, here, n, first, in_row_form, scratch)
    if count > in_row_form:
        sums, first, count = (
            scratch + argument(args, Down.SUMS_OFFSET),
            first + in_row_form,
            count - in_row_form,
        )
        _multiply(network, rows, left, hidden, tile, count, scratch, sums)
        for row in range(0, left, ROWS):
            for i in range(count):
                found = sums_of_token(sums_of_rows(sums, row, count), i)
                second, here = found + SECOND_16, min(ROWS, left - row)
                _add_to_token(args, network, found, second, first + i, n, r + row, here)


@inline
def _down_row_form(args, network, rows, r, left, n, first, in_row_form, scratch):
    """Up to 32 rows of one expert for its tokens in the row form."""
    hidden, stride = argument(network, DownNetwork.HIDDEN), argument(network, DownNetwork.ROW_BYTES)
    for group in range(first, first + in_row_form, ROW_TOKENS):
        n_here = min(ROW_TOKENS, first + in_row_form - group)
        for t in range(n_here):
            store_i64(scratch + ROW_NUMBERS + 8 * t, group + t)
        code = argument(network, DownNetwork.DOT_ROWS)
        results = dot_rows(code, rows, stride, left, hidden, n_here, scratch, 0)
        for t in range(n_here):
            found = results + 4 * ROWS * t
            _add_to_token(args, network, found, found + 64, group + t, n, r, left)


@inline
def _down_rows(args, network, begin, end, size, n, in_row_form, scratch):
    """Some units of all experts of a network."""
    routing = argument(network, DownNetwork.ROUTING)
    for i in range(n_entries(routing, n) if has_turn(argument(network, DownNetwork.AFTER)) else 0):
        expert, first, count, in_rows, tile = entry(routing, i, n, in_row_form)
        for unit in range(begin, end if count else begin):
            _down_unit(args, network, expert, unit * size, size, n, first, count, in_rows, tile, scratch)


@inline
def _down_units_of_node(args, node, given):
    units, _, _, _, _ = given
    return share_size(args, node, units)


@inline
def _run_down_units(args, node, first, last, given):
    units, size, n, in_row_form, scratch = given
    begin = share_begin(args, node, units)
    for j in range(argument(args, Down.N_NETWORKS)):
        network = args + NETWORKS + NETWORK * j
        _down_rows(args, network, begin + first, begin + last, size, n, in_row_form, scratch)


_take_down_by_node = make_take_by_node(_down_units_of_node, _run_down_units)


def down(args, thread, threads):
    """Kernel: out += weight of the choice * down hidden, over all choices of some networks.

    Who takes rows takes them of every network and expert, in their order, so that no two threads add to
    one place and sums have one order.
    """
    state = argument(args, STATE)
    n = argument(state, argument(args, Down.COUNT_SLOT))
    in_row_form = row_form_count(state, n, argument(args, Down.ROW_FORM_SLOT), FEW)
    scratch = argument(args, Down.SCRATCH) + thread * argument(args, Down.SCRATCH_BYTES)
    n_rows = argument(args, Down.ROWS)
    if n == in_row_form:
        size = rows_of_unit(ROWS, n_rows, threads)
    else:
        size = rows_of_panel_unit(ROWS, PANEL_ROWS, n_rows, threads)
    units = (n_rows + size - 1) // size if n > 0 else 0
    _take_down_by_node(args, thread, threads, (units, size, n, in_row_form, scratch))
