"""Gated feed-forward networks: down(silu(gate x) * up x), dense or by routed experts.

A dense network is one expert that takes every token with weight 1 (`routing` 0). The experts' matrices
are found through a table of addresses, int64 (n_experts, 3): gate, up, down. One token's experts are
shared out over the threads by rows, so that none waits; with more tokens each expert takes all its
tokens at once, and the threads share the work of all experts evenly.
"""

from __future__ import annotations

from typing import Any

from ..slots import (
    ACTIVATION_COLUMNS,
    ACTIVATION_ROWS,
    N_TOKENS,
    ROUTING_CHOSEN,
    ROUTING_N_EXPERTS,
    ROUTING_OFFSETS,
    ROUTING_ORDER,
    ROUTING_TILE_OFFSETS,
    ROUTING_TOP_K,
    ROUTING_WEIGHTS,
)
from ..tiles import PANEL_SCRATCH_BYTES, ROWS
from .activation import TILE, prepare
from .mathematics import silu
from .matmul import make_dot_token, make_tiles_at, share_rows, whole_rows
from .memory import argument, inline, load_f32, load_i64, store_f32
from .product import make_product
from .simd import fma, load_f32x16, splat_f32x16, store

PANEL_WORK = 2
"""Unpacking a panel takes about as long as multiplying this many tiles with it."""


@inline
def _expert_of_choice(routing, choice):
    return load_i64(argument(routing, ROUTING_CHOSEN) + 8 * choice) if routing else 0


@inline
def _n_experts(routing):
    return argument(routing, ROUTING_N_EXPERTS) if routing else 1


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
def _work_of(count):
    return (count + TILE - 1) // TILE + PANEL_WORK if count else 0


def gate_up(format_name: str) -> Any:
    """Kernel: hidden = silu(gate x) * up x, prepared for the down product.

    Arguments: state, routing (0: dense), activation (one token's rows are read), gathered activation
    (many tokens' tiles are read), table, bytes of a row, rows, hidden activation (a row per token and
    choice), scratch, scratch bytes of a thread.
    """
    dot_token = make_dot_token(format_name)
    tiles_at = make_tiles_at(format_name)
    product = make_product(format_name)

    @inline
    def activate(scratch, hidden_row, count):
        """Up to 32 gates at `scratch`, ups 128 bytes on."""
        for i in range(0, 32, 16):
            gate, up = load_f32x16(scratch + 4 * i), load_f32x16(scratch + 128 + 4 * i)
            store(scratch + 4 * i, silu(gate) * up)
        for i in range(count):
            store_f32(hidden_row + 4 * i, load_f32(scratch + 4 * i))

    @inline
    def one_token(args, thread, threads, scratch):
        routing, activation, table = argument(args, 1), argument(args, 2), argument(args, 4)
        stride, n_rows, hidden = argument(args, 5), argument(args, 6), argument(args, 7)
        n_choices = argument(routing, ROUTING_TOP_K) if routing else 1
        per_choice = (n_rows + ROWS - 1) // ROWS
        units = per_choice * n_choices
        for unit in range(units * thread // threads, units * (thread + 1) // threads):
            choice, r = unit // per_choice, unit % per_choice * ROWS
            expert = _expert_of_choice(routing, choice)
            gate, up = argument(table, 3 * expert), argument(table, 3 * expert + 1)
            count = min(ROWS, n_rows - r)
            for i in range(count):
                store_f32(scratch + 4 * i, dot_token(gate + (r + i) * stride, activation, 0))
            for i in range(count):
                store_f32(scratch + 128 + 4 * i, dot_token(up + (r + i) * stride, activation, 0))
            activate(scratch, argument(hidden, ACTIVATION_ROWS) + 4 * (choice * n_rows + r), count)
            prepare(hidden, choice, -1, 0, r, r + count)

    @inline
    def one_unit(args, expert, r, first, count, tile_0, scratch):
        """32 rows of one expert for all its tokens."""
        gathered, table = argument(args, 3), argument(args, 4)
        stride, n_rows, hidden = argument(args, 5), argument(args, 6), argument(args, 7)
        n_tiles = (count + TILE - 1) // TILE
        sums = scratch + PANEL_SCRATCH_BYTES
        spare = sums + n_tiles * TILE * 128
        gate, up = argument(table, 3 * expert), argument(table, 3 * expert + 1)
        columns = argument(gathered, ACTIVATION_COLUMNS)
        for part in range(0, ROWS, 16):
            left = n_rows - r - part
            if left > 0:
                at = (r + part) * stride
                rows_0 = whole_rows(gate + at, stride, left, spare)
                rows_1 = whole_rows(up + at, stride, left, spare + 16 * stride)
                product(rows_0, rows_1, stride, columns, tiles_at(gathered, tile_0), n_tiles, scratch, sums)
                for i in range(count):
                    at_sums = sums + (i // TILE * 2 * TILE + i % TILE) * 64
                    value = silu(load_f32x16(at_sums)) * load_f32x16(at_sums + TILE * 64)
                    out = argument(hidden, ACTIVATION_ROWS) + 4 * ((first + i) * n_rows + r + part)
                    if left >= 16:
                        store(out, value)
                    else:
                        store(at_sums, value)
                        for k in range(left):
                            store_f32(out + 4 * k, load_f32(at_sums + 4 * k))
        for i in range(count):
            prepare(hidden, first + i, tile_0 + i // TILE, i % TILE, r, min(r + ROWS, n_rows))

    @inline
    def many_tokens(args, n, thread, threads, scratch):
        routing, n_rows = argument(args, 1), argument(args, 6)
        units = (n_rows + ROWS - 1) // ROWS
        total = 0
        for expert in range(_n_experts(routing)):
            _, count, _ = _tokens_of(routing, expert, n)
            total += units * _work_of(count)
        begin, end = total * thread // threads, total * (thread + 1) // threads
        done = 0
        for expert in range(_n_experts(routing)):
            first, count, tile_0 = _tokens_of(routing, expert, n)
            work = _work_of(count)
            if work:
                # A unit belongs to the thread in whose share its work begins.
                from_unit = max(0, (begin - done + work - 1) // work)
                to_unit = min(units, (end - done + work - 1) // work)
                for unit in range(from_unit, to_unit):
                    one_unit(args, expert, unit * ROWS, first, count, tile_0, scratch)
                done += units * work

    def kernel(args, thread, threads):
        n = argument(argument(args, 0), N_TOKENS)
        scratch = argument(args, 8) + thread * argument(args, 9)
        if n == 1:
            one_token(args, thread, threads, scratch)
        else:
            many_tokens(args, n, thread, threads, scratch)

    return kernel


def down(format_name: str) -> Any:
    """Kernel: out += weight of the choice * down hidden, over all choices.

    Arguments: state, routing (0: dense), hidden activation, table, bytes of a row, rows, out (float32
    (n, rows)), scratch, scratch bytes of a thread. A thread has the same rows of every expert, so no
    two add to one place.
    """
    dot_token = make_dot_token(format_name)
    tiles_at = make_tiles_at(format_name)
    product = make_product(format_name)

    @inline
    def one_token(args, first, last):
        routing, hidden, table = argument(args, 1), argument(args, 2), argument(args, 3)
        stride, out = argument(args, 4), argument(args, 6)
        for choice in range(argument(routing, ROUTING_TOP_K) if routing else 1):
            weight = load_f32(argument(routing, ROUTING_WEIGHTS) + 4 * choice) if routing else 1.0
            matrix = argument(table, 3 * _expert_of_choice(routing, choice) + 2)
            for r in range(first, last):
                value = dot_token(matrix + r * stride, hidden, choice)
                store_f32(out + 4 * r, load_f32(out + 4 * r) + weight * value)

    @inline
    def add_scaled(sums, weight, out, count):
        if count >= 16:
            store(out, fma(load_f32x16(sums), splat_f32x16(weight), load_f32x16(out)))
        else:
            for i in range(count):
                store_f32(out + 4 * i, load_f32(out + 4 * i) + weight * load_f32(sums + 4 * i))

    @inline
    def many_tokens(args, n, first_row, last_row, scratch):
        routing, hidden, table = argument(args, 1), argument(args, 2), argument(args, 3)
        stride, n_rows, out = argument(args, 4), argument(args, 5), argument(args, 6)
        columns = argument(hidden, ACTIVATION_COLUMNS)
        for expert in range(_n_experts(routing)):
            first, count, tile_0 = _tokens_of(routing, expert, n)
            n_tiles = (count + TILE - 1) // TILE
            sums = scratch + PANEL_SCRATCH_BYTES
            spare = sums + n_tiles * TILE * 128
            matrix = argument(table, 3 * expert + 2)
            for r in range(first_row, last_row if count else first_row, ROWS):
                left = last_row - r
                rows_0 = whole_rows(matrix + r * stride, stride, left, spare)
                rows_1 = whole_rows(matrix + (r + 16) * stride, stride, left - 16, spare + 16 * stride)
                product(rows_0, rows_1, stride, columns, tiles_at(hidden, tile_0), n_tiles, scratch, sums)
                for i in range(count):
                    token, weight = i, 1.0
                    if routing:
                        assignment = load_i64(argument(routing, ROUTING_ORDER) + 8 * (first + i))
                        token = assignment // argument(routing, ROUTING_TOP_K)
                        weight = load_f32(argument(routing, ROUTING_WEIGHTS) + 4 * assignment)
                    at = sums + (i // TILE * 2 * TILE + i % TILE) * 64
                    target = out + 4 * (token * n_rows + r)
                    add_scaled(at, weight, target, left)
                    add_scaled(at + TILE * 64, weight, target + 64, left - 16)

    def kernel(args, thread, threads):
        n = argument(argument(args, 0), N_TOKENS)
        first, last = share_rows(argument(args, 5), thread, threads)
        if n == 1:
            one_token(args, first, last)
        else:
            many_tokens(args, n, first, last, argument(args, 7) + thread * argument(args, 8))

    return kernel
