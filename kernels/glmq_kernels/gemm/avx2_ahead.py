"""Rows of four-bit weights times one token or two in registers of 32 bytes: each unit is read ahead.

What is to be multiplied waits for no load and no shuffle then: while a unit of 256 weights is taken apart and
multiplied, the next one is read, of the same row or the next, and turned behind it (`NibbleStages`). Products
are added as in `avx2_row.py`, to the same bits.
"""

from __future__ import annotations

from typing import Any

from ..formats.unpack.avx2_turned import turned_of
from ..jit import isa
from ..simd.addresses import inline, store_f32
from ..simd.conversions import to_float
from ..simd.pair_products import multiply_bytes, multiply_words
from ..simd.vectors import fma, load_f32x8, load_i8x32, splat_i16x16, sum_lanes, zero_f32x8
from .avx2_row import LAST_HALVES, make_scales
from .row_record import LARGEST_TOKEN, RECORD_SCALES, RECORD_SUM32, UNIT
from .row_units import make_prefetch, make_unit_place, make_whole_units
from .sizes import ROW_RECORD_BYTES, ROWS

NEAR_COLUMNS = 8192
"""Of two tokens, at most, whose records the nearest cache holds beside weights: 24 KB."""


def reads_ahead(kind: Any) -> bool:
    """Whether a tensor type's weights are read ahead: eight products of them are added in words."""
    in_words = 16 * LARGEST_TOKEN * (kind.CENTER + kind.LARGEST) < 2**15
    return isa.current().dot == "maddubs" and in_words and turned_of(kind).stages is not None


def make_rows_of_few(kind: Any) -> tuple[Any, Any]:
    """`rows_of_one(rows, stride, count, end, columns, x, spare, out)`, and with y behind x `rows_of_two`.

    x, y: a token's records. Results are written to out, float32 [token][ROWS].
    """
    stages, scales_of = turned_of(kind).stages, make_scales(kind, turned_of(kind))
    load, turn, split = stages.load, stages.turn, stages.split
    ask_ahead, whole_units, unit_place = make_prefetch(kind), make_whole_units(kind), make_unit_place(kind)
    (a0, a1), (b0, b1), (c0, c1), (d0, d1) = (
        tuple(64 * (place % 4) + LAST_HALVES * (place // 4) for place in pair) for pair in stages.places
    )

    @inline
    def add_both(total, weights, x, first, second):
        total = total + multiply_bytes(weights[0], load_i8x32(x + first))
        return total + multiply_bytes(weights[1], load_i8x32(x + second))

    @inline
    def finish(found, words, factors, x):
        scales, minima = factors
        found = fma(minima, load_f32x8(x + RECORD_SUM32), found)
        sums = to_float(multiply_words(words, splat_i16x16(1)))
        return fma(sums, scales * load_f32x8(x + RECORD_SCALES), found)

    @inline
    def add_to_one(turned, factors, x, found):
        a, b, c, d = split(turned[0]), split(turned[1]), split(turned[2]), split(turned[3])
        words = add_both(splat_i16x16(0), a, x, a0, a1)
        words = add_both(words, b, x, b0, b1)
        words = add_both(words, c, x, c0, c1)
        return finish(found, add_both(words, d, x, d0, d1), factors, x)

    @inline
    def add_to_two(turned, factors, x, y, found, other):
        a = split(turned[0])
        words, more = add_both(splat_i16x16(0), a, x, a0, a1), add_both(splat_i16x16(0), a, y, a0, a1)
        b = split(turned[1])
        words, more = add_both(words, b, x, b0, b1), add_both(more, b, y, b0, b1)
        c = split(turned[2])
        words, more = add_both(words, c, x, c0, c1), add_both(more, c, y, c0, c1)
        d = split(turned[3])
        words, more = add_both(words, d, x, d0, d1), add_both(more, d, y, d0, d1)
        return finish(found, words, factors, x), finish(other, more, factors, y)

    @inline
    def place_behind(row, following, columns, unit):
        """Of the unit behind one: the row's next, or the first of the row that follows."""
        is_last = unit + 1 == (columns + UNIT - 1) // UNIT
        return unit_place(following, columns, 0) if is_last else unit_place(row, columns, unit + 1)

    @inline
    def rows_of_one(rows, stride, count, end, columns, x, spare, out):
        row = whole_units(rows, end, columns, spare)
        p = unit_place(row, columns, 0)
        turned, factors = turn(load(p)), scales_of(p)
        for i in range(count):
            following = whole_units(rows + min(i + 1, count - 1) * stride, end, columns, spare)
            found = zero_f32x8()
            for unit in range((columns + UNIT - 1) // UNIT):
                p = place_behind(row, following, columns, unit)
                ask_ahead(p)
                loaded = load(p)
                found = add_to_one(turned, factors, x + unit * ROW_RECORD_BYTES, found)
                turned, factors = turn(loaded), scales_of(p)
            store_f32(out + 4 * i, sum_lanes(found))
            row = following

    @inline
    def rows_of_two(rows, stride, count, end, columns, x, y, spare, out):
        row = whole_units(rows, end, columns, spare)
        p = unit_place(row, columns, 0)
        turned, factors = turn(load(p)), scales_of(p)
        for i in range(count):
            following = whole_units(rows + min(i + 1, count - 1) * stride, end, columns, spare)
            found, other = zero_f32x8(), zero_f32x8()
            for unit in range((columns + UNIT - 1) // UNIT):
                p, at = place_behind(row, following, columns, unit), unit * ROW_RECORD_BYTES
                ask_ahead(p)
                loaded = load(p)
                found, other = add_to_two(turned, factors, x + at, y + at, found, other)
                turned, factors = turn(loaded), scales_of(p)
            store_f32(out + 4 * i, sum_lanes(found))
            store_f32(out + 4 * (ROWS + i), sum_lanes(other))
            row = following

    return rows_of_one, rows_of_two
