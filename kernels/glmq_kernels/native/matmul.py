"""Matrix products: every row of a weight matrix with every token."""

from __future__ import annotations

from typing import Any

from .. import isa
from ..slots import (
    ACTIVATION_COLUMNS,
    ACTIVATION_FLOAT_TILES,
    ACTIVATION_Q,
    ACTIVATION_ROWS,
    ACTIVATION_SCALE,
    ACTIVATION_SUM16,
    ACTIVATION_SUM32,
    ACTIVATION_TILES,
    LOGITS,
)
from ..tiles import PANEL_SCRATCH_BYTES, ROWS
from .formats import native_format
from .memory import argument, copy_bytes, inline, load_f32, store_f32, zero_bytes
from .product import make_product
from .simd import load_f32x16, store

TILE = isa.current().tile


def make_dot_token(format_name: str) -> Any:
    """`dot_token(row, activation, token) -> float32`: a weight row times one prepared token."""
    kind = native_format(format_name)
    dot_row = kind.dot_row

    @inline
    def float_dot(row, activation, token):
        columns = argument(activation, ACTIVATION_COLUMNS)
        return dot_row(row, argument(activation, ACTIVATION_ROWS) + 4 * columns * token, columns)

    @inline
    def integer_dot(row, activation, token):
        columns = argument(activation, ACTIVATION_COLUMNS)
        return dot_row(
            row,
            argument(activation, ACTIVATION_Q) + columns * token,
            argument(activation, ACTIVATION_SCALE) + columns // 8 * token,
            argument(activation, ACTIVATION_SUM16) + columns // 4 * token,
            argument(activation, ACTIVATION_SUM32) + columns // 8 * token,
            columns,
        )

    return float_dot if kind.FLOAT else integer_dot


def make_tiles_at(format_name: str) -> Any:
    """`tiles_at(activation, tile) -> address` of a tile in the form that a tensor type takes."""
    is_float = native_format(format_name).FLOAT

    @inline
    def tiles_at(activation, tile):
        columns = argument(activation, ACTIVATION_COLUMNS)
        if is_float:
            return argument(activation, ACTIVATION_FLOAT_TILES) + tile * columns * TILE * 4
        return argument(activation, ACTIVATION_TILES) + tile * (columns // 32) * TILE * 44

    return tiles_at


@inline
def whole_rows(rows, stride, count, spare):
    """Address of 16 readable rows, the first `count` those at `rows`; a copy where they end early."""
    if count >= 16:
        return rows
    zero_bytes(spare, 16 * stride)
    if count > 0:
        copy_bytes(spare, rows, count * stride)
    return spare


@inline
def add_16(sums, out, count):
    """out += sums for `count` of 16 rows."""
    if count >= 16:
        store(out, load_f32x16(out) + load_f32x16(sums))
    else:
        for i in range(count):
            store_f32(out + 4 * i, load_f32(out + 4 * i) + load_f32(sums + 4 * i))


@inline
def put_16(sums, out, count):
    """out = sums for `count` of 16 rows."""
    if count >= 16:
        store(out, load_f32x16(sums))
    else:
        for i in range(count):
            store_f32(out + 4 * i, load_f32(sums + 4 * i))


@inline
def share_rows(n_rows, thread, threads):
    """The rows of one thread, in units of 32. The same for every product with as many rows."""
    units = (n_rows + ROWS - 1) // ROWS
    return units * thread // threads * ROWS, min(units * (thread + 1) // threads * ROWS, n_rows)


def matmul(format_name: str) -> Any:
    """Kernel: out = weight x activation (+ bias), or out += weight x activation.

    Arguments: state, state slot of the token count, activation, weight, bytes of a row, rows, out
    (float32 (n, rows); 0: the state's logits), bias (float32 (rows,) or 0), accumulate (0 or 1),
    scratch, scratch bytes of a thread.
    """
    dot_token = make_dot_token(format_name)
    tiles_at = make_tiles_at(format_name)
    product = make_product(format_name)

    @inline
    def one_token(args, first, last, out):
        activation, weight, stride = argument(args, 2), argument(args, 3), argument(args, 4)
        bias, accumulate = argument(args, 7), argument(args, 8)
        for r in range(first, last):
            value = dot_token(weight + r * stride, activation, 0)
            if bias:
                value += load_f32(bias + 4 * r)
            if accumulate:
                value += load_f32(out + 4 * r)
            store_f32(out + 4 * r, value)

    @inline
    def many_tokens(args, n, first, last, out, scratch):
        activation, weight, stride = argument(args, 2), argument(args, 3), argument(args, 4)
        n_rows, bias, accumulate = argument(args, 5), argument(args, 7), argument(args, 8)
        columns = argument(activation, ACTIVATION_COLUMNS)
        n_tiles = (n + TILE - 1) // TILE
        sums = scratch + PANEL_SCRATCH_BYTES
        spare = sums + n_tiles * TILE * 128
        for r in range(first, last, ROWS):
            count = last - r
            rows_0 = whole_rows(weight + r * stride, stride, count, spare)
            rows_1 = whole_rows(weight + (r + 16) * stride, stride, count - 16, spare + 16 * stride)
            product(rows_0, rows_1, stride, columns, tiles_at(activation, 0), n_tiles, scratch, sums)
            for t in range(n):
                at = sums + (t // TILE * 2 * TILE + t % TILE) * 64
                target = out + (t * n_rows + r) * 4
                if accumulate:
                    add_16(at, target, count)
                    add_16(at + TILE * 64, target + 64, count - 16)
                else:
                    put_16(at, target, count)
                    put_16(at + TILE * 64, target + 64, count - 16)
                    if bias:
                        add_16(bias + 4 * r, target, count)
                        add_16(bias + 4 * r + 64, target + 64, count - 16)

    def kernel(args, thread, threads):
        state = argument(args, 0)
        n = argument(state, argument(args, 1))
        out = argument(args, 6) if argument(args, 6) else argument(state, LOGITS)
        first, last = share_rows(argument(args, 5), thread, threads)
        if n == 1:
            one_token(args, first, last, out)
        elif n > 1:
            many_tokens(args, n, first, last, out, argument(args, 9) + thread * argument(args, 10))

    return kernel
