"""Gated feed-forward networks: down(silu(gate x) * up x), dense or by routed experts.

A dense network is one expert that takes every token with weight 1 (`routing` 0). The experts' matrices
are found through a table of addresses, int64 (n_experts, 3): gate, up, down. A run may be for some only
of the routed experts (`Routing.select_choices`, `select_experts`). An expert takes all its tokens at once.
A unit of work is 32 rows of one expert, or in the down product of all experts, and threads take units as
they get free.

A matrix is described by four arguments: bytes of a row, and the addresses of `gemv.dot_rows`,
`gemv.dot_rows_4` and `product.multiply` of its type.
"""

from __future__ import annotations

from ...gemm.activation import TILE, prepare
from ...gemm.activation_record import ACTIVATION_ROWS
from ...gemm.sizes import FEW, ROWS
from ...simd.addresses import (
    argument,
    call_6,
    call_7,
    call_8,
    inline,
    load_f32,
    load_i64,
    store_f32,
    store_i64,
)
from ...simd.mathematics import silu
from ...simd.vectors import fma, load_f32x16, splat_f32x16, store
from ...threads.argument_record import STATE, record_size
from ...threads.work_units import take
from ..batch_state import N_TOKENS
from ..matmul.kernel import sums_of_token
from ..routing.record import (
    ROUTING_CHOICES,
    ROUTING_CHOSEN,
    ROUTING_FIRST_EXPERT,
    ROUTING_LAST_EXPERT,
    ROUTING_N_CHOICES,
    ROUTING_OFFSETS,
    ROUTING_ORDER,
    ROUTING_TILE_OFFSETS,
    ROUTING_TOP_K,
    ROUTING_WEIGHTS,
)
from .arguments import Down, GateUp, NetworkMatrix

GATE = 8 * record_size(GateUp)
UP = GATE + 8 * len(NetworkMatrix)
DOWN = 8 * record_size(Down)
"""Where the matrices' records begin."""

PANEL_WORK = 2
"""Unpacking a panel takes about as long as multiplying this many tiles with it."""


@inline
def _expert_of_choice(routing, choice):
    return load_i64(argument(routing, ROUTING_CHOSEN) + 8 * choice) if routing else 0


@inline
def _selected_experts(routing):
    if routing:
        return argument(routing, ROUTING_FIRST_EXPERT), argument(routing, ROUTING_LAST_EXPERT)
    return 0, 1


@inline
def _tokens_of(routing, expert, n):
    """First sorted place, count and first tile of an expert's tokens."""
    if routing:
        offsets = argument(routing, ROUTING_OFFSETS) + 8 * expert
        first = load_i64(offsets)
        return (
            first,
            load_i64(offsets + 8) - first,
            load_i64(argument(routing, ROUTING_TILE_OFFSETS) + 8 * expert),
        )
    return 0, n, 0


@inline
def _token_at(routing, place):
    """The token whose assignment stands at a sorted place."""
    if routing:
        return load_i64(argument(routing, ROUTING_ORDER) + 8 * place) // argument(routing, ROUTING_TOP_K)
    return place


@inline
def _work_of(count):
    return (count + TILE - 1) // TILE + PANEL_WORK if count else 0


@inline
def _dot(matrix, rows, count, activation, token, out):
    """Rows times one token: float32 [32 rows]."""
    stride = argument(matrix, NetworkMatrix.ROW_BYTES)
    call_6(argument(matrix, NetworkMatrix.DOT_ROWS), rows, stride, count, activation, token, out)


@inline
def _dot_few(matrix, rows, count, activation, tokens, out):
    """Rows times four tokens: float32 [token][32 rows]."""
    call_7(
        argument(matrix, NetworkMatrix.DOT_ROWS_4),
        rows,
        argument(matrix, NetworkMatrix.ROW_BYTES),
        count,
        activation,
        tokens,
        out,
        4 * ROWS,
    )


@inline
def _multiply(matrix, rows, count, activation, tile, n_tokens, scratch, sums):
    """Rows times tiles (see `product.multiply`)."""
    stride = argument(matrix, NetworkMatrix.ROW_BYTES)
    call_8(
        argument(matrix, NetworkMatrix.MULTIPLY),
        rows,
        stride,
        count,
        activation,
        tile,
        n_tokens,
        scratch,
        sums,
    )


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
def _one_token_unit(args, choice, r, scratch):
    """32 rows of one expert for the only token."""
    routing, activation, hidden = (
        argument(args, GateUp.ROUTING),
        argument(args, GateUp.ACTIVATION),
        argument(args, GateUp.HIDDEN),
    )
    gate, up, n_rows = args + GATE, args + UP, argument(args, GateUp.ROWS)
    if routing:
        choice = load_i64(argument(routing, ROUTING_CHOICES) + 8 * choice)
    matrices = argument(args, GateUp.TABLE) + 24 * _expert_of_choice(routing, choice)
    count = min(ROWS, n_rows - r)
    at = argument(matrices, 0) + r * argument(gate, NetworkMatrix.ROW_BYTES)
    _dot(gate, at, count, activation, 0, scratch)
    at = argument(matrices, 1) + r * argument(up, NetworkMatrix.ROW_BYTES)
    _dot(up, at, count, activation, 0, scratch + 4 * ROWS)
    out = argument(hidden, ACTIVATION_ROWS) + 4 * (choice * n_rows + r)
    _gated(scratch, scratch + 4 * ROWS, out, count)
    _gated(scratch + 64, scratch + 4 * ROWS + 64, out + 64, count - 16)
    prepare(hidden, choice, -1, 0, r, r + count)


@inline
def _one_token(args, threads, scratch):
    routing = argument(args, GateUp.ROUTING)
    n_choices = argument(routing, ROUTING_N_CHOICES) if routing else 1
    per_choice = (argument(args, GateUp.ROWS) + ROWS - 1) // ROWS
    units = per_choice * n_choices
    first, last = take(args, units, threads)
    while first < last:
        for unit in range(first, last):
            _one_token_unit(args, unit // per_choice, unit % per_choice * ROWS, scratch)
        first, last = take(args, units, threads)


@inline
def _few_tokens(args, expert, r, first, count, tile, scratch):
    """32 rows of one expert for up to four tokens."""
    routing, activation, hidden = (
        argument(args, GateUp.ROUTING),
        argument(args, GateUp.ACTIVATION),
        argument(args, GateUp.HIDDEN),
    )
    gate, up = args + GATE, args + UP
    matrices, n_rows = argument(args, GateUp.TABLE) + 24 * expert, argument(args, GateUp.ROWS)
    left = min(ROWS, n_rows - r)
    ups, tokens = scratch + 4 * FEW * ROWS, scratch + 8 * FEW * ROWS
    for t in range(FEW):
        store_i64(tokens + 8 * t, _token_at(routing, first + min(t, count - 1)))
    _dot_few(
        gate,
        argument(matrices, 0) + r * argument(gate, NetworkMatrix.ROW_BYTES),
        left,
        activation,
        tokens,
        scratch,
    )
    _dot_few(
        up, argument(matrices, 1) + r * argument(up, NetworkMatrix.ROW_BYTES), left, activation, tokens, ups
    )
    for i in range(count):
        out = argument(hidden, ACTIVATION_ROWS) + 4 * ((first + i) * n_rows + r)
        at = 4 * ROWS * i
        _gated(scratch + at, ups + at, out, left)
        _gated(scratch + at + 64, ups + at + 64, out + 64, left - 16)
        prepare(hidden, first + i, tile, i, r, r + left)


@inline
def _many_tokens(args, expert, r, first, count, tile, scratch):
    """32 rows of one expert for all its tokens."""
    gathered, hidden = argument(args, GateUp.GATHERED), argument(args, GateUp.HIDDEN)
    gate, up = args + GATE, args + UP
    matrices, n_rows = argument(args, GateUp.TABLE) + 24 * expert, argument(args, GateUp.ROWS)
    left = min(ROWS, n_rows - r)
    gates = scratch + argument(args, GateUp.SUMS_OFFSET)
    ups = gates + (count + TILE - 1) // TILE * TILE * 4 * ROWS
    at = argument(matrices, 0) + r * argument(gate, NetworkMatrix.ROW_BYTES)
    _multiply(gate, at, left, gathered, tile, count, scratch, gates)
    at = argument(matrices, 1) + r * argument(up, NetworkMatrix.ROW_BYTES)
    _multiply(up, at, left, gathered, tile, count, scratch, ups)
    for i in range(count):
        a, b = sums_of_token(gates, i), sums_of_token(ups, i)
        out = argument(hidden, ACTIVATION_ROWS) + 4 * ((first + i) * n_rows + r)
        _gated(a, b, out, left)
        _gated(a + TILE * 64, b + TILE * 64, out + 64, left - 16)
        prepare(hidden, first + i, tile + i // TILE, i % TILE, r, r + left)


@inline
def _all_experts(args, n, threads, scratch):
    routing, n_rows = argument(args, GateUp.ROUTING), argument(args, GateUp.ROWS)
    per_expert = (n_rows + ROWS - 1) // ROWS
    work, units = 0, 0
    first_expert, last_expert = _selected_experts(routing)
    for expert in range(first_expert, last_expert):
        _, count, _ = _tokens_of(routing, expert, n)
        work += per_expert * _work_of(count)
        units += per_expert if count else 0
    first, last = take(args, units, threads)
    while first < last:
        _part_of_experts(args, n, work * first // units, work * last // units, scratch)
        first, last = take(args, units, threads)


@inline
def _part_of_experts(args, n, begin, end, scratch):
    """The units whose work begins at `begin` up to `end` of all experts' work."""
    routing, n_rows = argument(args, GateUp.ROUTING), argument(args, GateUp.ROWS)
    per_expert = (n_rows + ROWS - 1) // ROWS
    done = 0
    first_expert, last_expert = _selected_experts(routing)
    for expert in range(first_expert, last_expert):
        first, count, tile = _tokens_of(routing, expert, n)
        work = _work_of(count)
        if work:
            from_unit = max(0, (begin - done + work - 1) // work)
            to_unit = min(per_expert, (end - done + work - 1) // work)
            for unit in range(from_unit, to_unit):
                if count <= FEW:
                    _few_tokens(args, expert, unit * ROWS, first, count, tile, scratch)
                else:
                    _many_tokens(args, expert, unit * ROWS, first, count, tile, scratch)
            done += per_expert * work


def gate_up(args, thread, threads):
    """Kernel: hidden = silu(gate x) * up x, prepared for the down product.

    Arguments: state, routing (0: dense), activation (its rows are read for up to four tokens of an
    expert), gathered activation (its tiles are, for more), table, rows, hidden activation (a row per
    token and choice, by expert where there are several tokens), scratch, scratch bytes of a thread,
    offset of the sums in it, then gate's and up's four.
    """
    n = argument(argument(args, STATE), N_TOKENS)
    scratch = argument(args, GateUp.SCRATCH) + thread * argument(args, GateUp.SCRATCH_BYTES)
    if n == 1:
        _one_token(args, threads, scratch)
    else:
        _all_experts(args, n, threads, scratch)


@inline
def _add_scaled(found, weight, out, count):
    """Out += weight * found for `count` of 16."""
    if count >= 16:
        store(out, fma(load_f32x16(found), splat_f32x16(weight), load_f32x16(out)))
    else:
        for i in range(count):
            store_f32(out + 4 * i, load_f32(out + 4 * i) + weight * load_f32(found + 4 * i))


@inline
def _down_one_token(args, first_row, last_row, scratch):
    routing, hidden, table = (
        argument(args, Down.ROUTING),
        argument(args, Down.HIDDEN),
        argument(args, Down.TABLE),
    )
    out, down = argument(args, Down.OUT), args + DOWN
    for choice in range(argument(routing, ROUTING_TOP_K) if routing else 1):
        weight = load_f32(argument(routing, ROUTING_WEIGHTS) + 4 * choice) if routing else 1.0
        matrix = argument(table, 3 * _expert_of_choice(routing, choice) + 2)
        for r in range(first_row, last_row, ROWS):
            count = min(ROWS, last_row - r)
            _dot(down, matrix + r * argument(down, NetworkMatrix.ROW_BYTES), count, hidden, choice, scratch)
            _add_scaled(scratch, weight, out + 4 * r, count)
            _add_scaled(scratch + 64, weight, out + 4 * r + 64, count - 16)


@inline
def _down_unit(args, matrix, r, left, first, count, tile, scratch):
    """32 rows of one expert for its tokens."""
    routing, hidden, n_rows = (
        argument(args, Down.ROUTING),
        argument(args, Down.HIDDEN),
        argument(args, Down.ROWS),
    )
    out, down = argument(args, Down.OUT), args + DOWN
    sums = scratch + argument(args, Down.SUMS_OFFSET)
    rows = matrix + r * argument(down, NetworkMatrix.ROW_BYTES)
    if count <= FEW:
        places = scratch + 4 * FEW * ROWS
        for t in range(FEW):
            store_i64(places + 8 * t, first + min(t, count - 1))
        _dot_few(down, rows, min(ROWS, left), hidden, places, scratch)
    else:
        _multiply(down, rows, min(ROWS, left), hidden, tile, count, scratch, sums)
    for i in range(count):
        token, weight = first + i, 1.0
        if routing:
            assignment = load_i64(argument(routing, ROUTING_ORDER) + 8 * (first + i))
            token = assignment // argument(routing, ROUTING_TOP_K)
            weight = load_f32(argument(routing, ROUTING_WEIGHTS) + 4 * assignment)
        target = out + 4 * (token * n_rows + r)
        if count <= FEW:
            found, second = scratch + 4 * ROWS * i, scratch + 4 * ROWS * i + 64
        else:
            found, second = sums_of_token(sums, i), sums_of_token(sums, i) + TILE * 64
        _add_scaled(found, weight, target, left)
        _add_scaled(second, weight, target + 64, left - 16)


@inline
def _down_rows(args, n, first_row, last_row, scratch):
    """Rows of all experts for their tokens."""
    routing = argument(args, Down.ROUTING)
    first_expert, last_expert = _selected_experts(routing)
    for expert in range(first_expert, last_expert):
        first, count, tile = _tokens_of(routing, expert, n)
        matrix = argument(argument(args, Down.TABLE), 3 * expert + 2)
        for r in range(first_row, last_row if count else first_row, ROWS):
            _down_unit(args, matrix, r, last_row - r, first, count, tile, scratch)


def down(args, thread, threads):
    """Kernel: out += weight of the choice * down hidden, over all choices.

    Arguments: state, routing (0: dense), hidden activation, table, rows, out (float32 (n, rows)),
    scratch, scratch bytes of a thread, offset of the sums in it, then down's four. Who takes rows takes them
    of every expert, so no two threads add to one place.
    """
    n = argument(argument(args, STATE), N_TOKENS)
    scratch = argument(args, Down.SCRATCH) + thread * argument(args, Down.SCRATCH_BYTES)
    n_rows = argument(args, Down.ROWS)
    units = (n_rows + ROWS - 1) // ROWS
    first, last = take(args, units, threads)
    while first < last:
        if n == 1:
            _down_one_token(args, first * ROWS, min(last * ROWS, n_rows), scratch)
        else:
            _down_rows(args, n, first * ROWS, min(last * ROWS, n_rows), scratch)
        first, last = take(args, units, threads)
