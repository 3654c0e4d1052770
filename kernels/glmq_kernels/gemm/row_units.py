"""Where the units of 256 weights of rows are, and in which order a product in the row form takes them.

Up to 32 rows follow each other in memory. They are read in several places in turn, *streams*, a unit of each:

    rows      0 .. 7         8 .. 15        16 .. 23       24 .. 31
    units     0 4 8 ..       1 5 9 ..       2 6 10 ..      3 7 11 ..      in this order

Processors ask for what follows within a page of memory by themselves, so several pages at once come nearer
to what memory can give than one does (docs/numbers.md). With AVX2 arithmetic has no time for it: there rows
of one token and two are read one after the other, and four neighbours take turns with more.

What is made for a tensor type is made once: Numba compiles each function that it meets, equal or not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from ..simd.addresses import copy_bytes, inline, prefetch, zero_bytes
from .row_record import UNIT

PREFETCH_BYTES = 3072
"""How far ahead weights are asked for: without it a core reads at a third of the memory's speed."""

STREAMS = 4
"""Places of its rows that a product reads in turn."""

STREAM_PREFETCH_BYTES = 1536
"""How far ahead weights are asked for in each of them."""

SUMS_BYTES = 128
"""Of one token's sums: two vectors of 16 float32."""

ROW_GROUP, GROUP_SUMS_BYTES = 4, 32
"""Rows that take turns where several tokens meet them in registers of 32 bytes, and bytes of a token's sums
with one of them: together no more than SUMS_BYTES."""


@cache
def make_prefetch(kind: Any) -> Any:
    """`ask_ahead(p)`: ask memory for what comes some blocks behind the 256 weights at p."""
    ask_for = make_prefetch_unit(kind)

    @inline
    def ask_ahead(p):
        ask_for(p + PREFETCH_BYTES)

    return ask_ahead


@cache
def make_prefetch_unit(kind: Any) -> Any:
    """`ask_for(p)`: ask memory for the 256 weights at p."""
    n_lines = (kind.BYTES + 63) // 64

    @inline
    def ask_for(p):
        for line in range(n_lines):
            prefetch(p + 64 * line)

    return ask_for


@inline
def streams_of(columns, stride, count):
    """How `count` rows are read: rows of a stream, bytes from one stream to the next, bytes of the others.

    Rows shorter than a unit are one stream.
    """
    n_streams = STREAMS if columns >= UNIT else 1
    n_rows = (count + n_streams - 1) // n_streams
    return n_rows, n_rows * stride, (n_streams - 1) * n_rows * stride


@inline
def streams_with(i, n_rows, count):
    """How many streams have an i-th row, of `count` rows in all."""
    return (count - i + n_rows - 1) // n_rows


@inline
def stream_ahead(p, end, others):
    """How far ahead of p, in the first stream, all ask memory for weights.

    end: of the first stream, others: bytes of the other ones. Behind its end a stream goes on with the rows
    that follow them all in memory, which are multiplied next.
    """
    if p + STREAM_PREFETCH_BYTES >= end:
        return STREAM_PREFETCH_BYTES + others
    return STREAM_PREFETCH_BYTES


@cache
def make_whole_units(kind: Any) -> Any:
    """`whole_units(row, end, columns, spare)`: where a row can be read in units of 256 weights.

    A row of fewer may have no memory behind it up to `end`, and is copied to `spare` then.
    """
    size, in_blocks = kind.BYTES, kind.unpack_block is not None

    @inline
    def whole_units(row, end, columns, spare):
        if in_blocks and columns < UNIT and row + size > end:
            # As many blocks as `unpack` reads. What it reads behind a row counts nothing.
            zero_bytes(spare, size)
            copy_bytes(spare, row, columns // 32 * (size // 8))
            return spare
        return row

    return whole_units


@cache
def make_unit_place(kind: Any) -> Any:
    """`unit_place(row, columns, unit)`: address of a unit of 256 weights.

    A row's last one begins 256 columns before the end, also where it meets the one before it; the token's
    scales are 0 there.
    """
    size, in_blocks = kind.BYTES, kind.unpack_block is not None

    @inline
    def unit_place(row, columns, unit):
        if in_blocks:
            return row + max(0, min(8 * unit, columns // 32 - 8)) * (size // 8)
        return row + unit * size

    return unit_place
