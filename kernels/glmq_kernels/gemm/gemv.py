"""Rows of a weight matrix times few tokens, the *row form*: weights are read once, in the order of the file.

These are the kernels of a tensor type for few tokens; the operations (`ops/matmul`, `ops/feed_forward`)
find them by address, so that they themselves are the same for all types.

256 weights of a row are unpacked (`formats/`), stay in registers, and meet each token in turn, whose sums
wait in the nearest cache meanwhile. A token's products are added in the same order, and its result is the
same bits, whatever tokens stand beside it. For integer formats (u, scales and minima as in `formats/unpack`)

    sum over groups  scale * x scale * (u . q)  +  minimum * x scale * sum(q)

is added up in lanes, q being the token as int8 with a scale for every 32 (`activation.py`, `row_record.py`).
"""

from __future__ import annotations

from typing import Any

from ..formats.unpack import unpacking_of
from ..simd.addresses import argument, inline, load_f32, load_i64, prefetch, store_f32, store_i64
from ..simd.vectors import fma, load_f32x8, load_f32x16, store, sum_lanes, zero_f32x8, zero_f32x16
from . import avx2_ahead, avx2_row, turned_row
from .activation_record import ACTIVATION_COLUMNS, ACTIVATION_ROW_RECORDS, ACTIVATION_ROWS
from .row_record import SUMS_IN_WORDS, UNIT
from .row_units import (
    GROUP_SUMS_BYTES,
    ROW_GROUP,
    STREAMS,
    SUMS_BYTES,
    stream_ahead,
    streams_of,
    streams_with,
)
from .sizes import ROW_RECORD_BYTES, ROW_TOKENS, ROWS


def dot_rows(format_name: str) -> Any:
    """Kernel: out[t][i] = row i times token t.

    rows, bytes from a row to the next, number of rows (up to ROWS), activation, address of its rows' numbers
    (int64), how many these are (up to ROW_TOKENS), out (float32 [token][ROWS]), scratch (ROW_SCRATCH_BYTES).
    """
    kind = unpacking_of(format_name)
    if kind.FLOAT:
        return rows_kernel(float_token, make_float_rows(kind), make_float_finish(kind))
    if SUMS_IN_WORDS:
        ahead = avx2_ahead.reads_ahead(kind)
        few = avx2_ahead.make_rows_of_few(kind) if ahead else (avx2_row.make_rows_of_one(kind),)
        return grouped_rows_kernel(_integer_token, avx2_row.make_rows(kind), *few)
    return rows_kernel(_integer_token, turned_row.make_rows(kind), turned_row.make_finish(kind))


def rows_kernel(token: Any, add_rows: Any, finish: Any) -> Any:
    """The kernel `dot_rows` of three functions.

    token(activation, i): address of row i in the form that is multiplied. add_rows(rows, streams, end,
    columns, tokens, n, sums, spare): adds the products of a row of each stream to the sums of n tokens,
    [row][token], whose addresses are at `tokens`, with a 0 behind; up to `end` memory holds further rows.
    streams: how many, bytes from one to the next, end of the first, bytes of the others. finish(sums, row,
    columns, token): a token's result.
    """

    def kernel(rows, stride, count, activation, tokens, n_tokens, out, scratch):
        columns = argument(activation, ACTIVATION_COLUMNS)
        places, end = scratch + SUMS_BYTES * STREAMS * ROW_TOKENS, rows + count * stride
        spare = places + 8 * ROW_TOKENS + 8
        for t in range(n_tokens):
            store_i64(places + 8 * t, token(activation, load_i64(tokens + 8 * t)))
        store_i64(places + 8 * n_tokens, 0)
        in_stream, stream_bytes, others = streams_of(columns, stride, count)
        for i in range(in_stream):
            n_here = streams_with(i, in_stream, count)
            for k in range(n_here * n_tokens):
                store(scratch + SUMS_BYTES * k, zero_f32x16())
                store(scratch + SUMS_BYTES * k + 64, zero_f32x16())
            streams = n_here, stream_bytes, rows + stream_bytes, others
            add_rows(rows + i * stride, streams, end, columns, places, n_tokens, scratch, spare)
            sums = scratch
            for row in range(i, count, in_stream):
                for t in range(n_tokens):
                    found = finish(sums, rows + row * stride, columns, load_i64(places + 8 * t))
                    store_f32(out + 4 * (ROWS * t + row), found)
                    sums += SUMS_BYTES

    return kernel


def grouped_rows_kernel(token: Any, add_rows: Any, rows_of_one: Any, rows_of_two: Any = None) -> Any:
    """The kernel `dot_rows` where several rows take turns, unit by unit, with several tokens.

    What a unit of the tokens takes is near then for all rows but the first, also where whole tokens do not
    fit into the nearest cache. add_rows(rows, stride, count, end, columns, tokens, sums, spare): adds the
    products of up to ROW_GROUP rows to the sums of tokens, float32 [row][token][8], whose addresses are at
    `tokens`, with a 0 behind. rows_of_one, rows_of_two: forms for one token, and for two that are near
    (`avx2_ahead.py`).
    """
    with_two = rows_of_two is not None

    def kernel(rows, stride, count, activation, tokens, n_tokens, out, scratch):
        columns, places = argument(activation, ACTIVATION_COLUMNS), scratch + SUMS_BYTES * ROW_TOKENS
        spare, end = places + 8 * ROW_TOKENS + 8, rows + count * stride
        for t in range(n_tokens):
            store_i64(places + 8 * t, token(activation, load_i64(tokens + 8 * t)))
        store_i64(places + 8 * n_tokens, 0)
        if n_tokens == 1:
            rows_of_one(rows, stride, count, end, columns, load_i64(places), spare, out)
        elif with_two and n_tokens == 2 and columns <= avx2_ahead.NEAR_COLUMNS:
            x, y = load_i64(places), load_i64(places + 8)
            rows_of_two(rows, stride, count, end, columns, x, y, spare, out)
        elif n_tokens > 1:
            group = ROW_GROUP if columns >= UNIT else 1
            for first in range(0, count, group):
                here = min(group, count - first)
                for k in range(here * n_tokens):
                    store(scratch + GROUP_SUMS_BYTES * k, zero_f32x8())
                add_rows(rows + first * stride, stride, here, end, columns, places, scratch, spare)
                found = scratch
                for i in range(here):
                    for t in range(n_tokens):
                        store_f32(out + 4 * (ROWS * t + first + i), sum_lanes(load_f32x8(found)))
                        found += GROUP_SUMS_BYTES

    return kernel


@inline
def _integer_token(activation, i):
    units = (argument(activation, ACTIVATION_COLUMNS) + UNIT - 1) // UNIT
    return argument(activation, ACTIVATION_ROW_RECORDS) + units * ROW_RECORD_BYTES * i


@inline
def float_token(activation, i):
    """Address of a row of float32."""
    return argument(activation, ACTIVATION_ROWS) + 4 * argument(activation, ACTIVATION_COLUMNS) * i


@inline
def add_64(values, x, sums):
    """64 products to a token's two sums in memory."""
    a, b = fma(values[0], load_f32x16(x), load_f32x16(sums)), load_f32x16(sums + 64)
    b = fma(values[1], load_f32x16(x + 64), b)
    store(sums, fma(values[2], load_f32x16(x + 128), a))
    store(sums + 64, fma(values[3], load_f32x16(x + 192), b))


def make_float_rows(kind: Any) -> Any:
    """`add_rows` of a float format, but for the columns behind the last whole 16."""
    load_16, width = kind.load_16, kind.WIDTH

    @inline
    def load_64(p):
        return load_16(p), load_16(p + 16 * width), load_16(p + 32 * width), load_16(p + 48 * width)

    @inline
    def add_to_all(values, at, tokens, n_tokens, sums):
        for t in range(n_tokens):
            add_64(values, load_i64(tokens + 8 * t) + at, sums + SUMS_BYTES * t)

    @inline
    def add_last(row, first, columns, tokens, n_tokens, sums):
        """The columns from `first` on, but for those behind the last whole 16."""
        for i in range(first, columns // 64 * 64, 64):
            add_to_all(load_64(row + i * width), 4 * i, tokens, n_tokens, sums)
        for i in range(columns // 64 * 64, columns // 16 * 16, 16):
            value = load_16(row + i * width)
            for t in range(n_tokens):
                at = sums + SUMS_BYTES * t
                store(at, fma(value, load_f32x16(load_i64(tokens + 8 * t) + 4 * i), load_f32x16(at)))

    @inline
    def add_rows(rows, streams, end, columns, tokens, n_tokens, sums, spare):
        n_streams, stream_bytes, stream_end, others = streams
        in_units = columns // UNIT * UNIT
        for first in range(0, in_units, UNIT):
            p, at = rows + first * width, sums
            ahead = stream_ahead(p, stream_end, others)
            for _ in range(n_streams):
                for line in range(UNIT // 64 * width):
                    prefetch(p + ahead + 64 * line)
                for i in range(0, UNIT, 64):
                    add_to_all(load_64(p + i * width), 4 * (first + i), tokens, n_tokens, at)
                p, at = p + stream_bytes, at + SUMS_BYTES * n_tokens
        for k in range(n_streams):
            at = sums + SUMS_BYTES * n_tokens * k
            add_last(rows + k * stream_bytes, in_units, columns, tokens, n_tokens, at)

    return add_rows


def make_float_finish(kind: Any) -> Any:
    """`finish` of a float format."""
    load_1, width = kind.load_1, kind.WIDTH

    @inline
    def finish(sums, row, columns, token):
        result = sum_lanes(load_f32x16(sums) + load_f32x16(sums + 64))
        for i in range(columns // 16 * 16, columns):
            result += load_1(row + i * width) * load_f32(token + 4 * i)
        return result

    return finish
