"""Rows of weights times one token or two in registers of 32 bytes, each unit read ahead.

What is to be multiplied waits for no load and no shuffle then. Weights of four bits: while a unit of 256 is
taken apart and multiplied, the next one is read, of the same row or the next, and turned behind it
(`NibbleStages`). Others need twice the registers, and go by halves of their blocks: the last halves of a unit
are read and turned before the first are multiplied, and the first of the next one before the last. Products
are added as in `avx2_row.py`, to the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..formats.unpack.avx2_turned import largest_of, turned_of
from ..jit import isa
from ..simd.addresses import inline, store_f32
from ..simd.conversions import to_float
from ..simd.pair_products import multiply_bytes, multiply_words
from ..simd.vectors import fma, load_f32x8, load_i8x32, splat_i16x16, sum_lanes, zero_f32x8
from .avx2_row import LAST_HALVES, make_half_steps, make_scales, make_sums
from .row_record import LARGEST_TOKEN, RECORD_SCALES, RECORD_SUM32, UNIT
from .row_units import make_prefetch, make_unit_place, make_whole_units
from .sizes import ROW_RECORD_BYTES, ROW_SPARE_BYTES, ROWS

NEAR_COLUMNS = 8192
"""Of two tokens, at most, whose records the nearest cache holds beside weights: 24 KB."""


@dataclass(frozen=True)
class UnitsAhead:
    """Units at addresses p, each multiplied when the one behind it is known.

    begin(p)                                       what is kept of a unit
    one(kept, p, behind, x, found)                 what is kept of the unit behind, found and the products
    two(kept, p, behind, x, y, found, other)       the same of two tokens
    """

    begin: Callable[[Any], Any]
    one: Callable[..., Any]
    two: Callable[..., Any]


def reads_ahead(kind: Any) -> bool:
    """Whether a tensor type's weights are read ahead."""
    turned = turned_of(kind)
    return isa.current().dot == "maddubs" and (turned.stages is not None or turned.halves is not None)


def _units_of_nibbles(kind: Any) -> UnitsAhead:
    """Of weights of four bits: eight products of them are added in words."""
    stages, scales_of = turned_of(kind).stages, make_scales(kind, turned_of(kind))
    load, turn, split = stages.load, stages.turn, stages.split
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
    def begin(p):
        return turn(load(p)), scales_of(p)

    @inline
    def one(kept, p, behind, x, found):
        turned, factors = kept
        loaded = load(behind)
        a, b, c, d = split(turned[0]), split(turned[1]), split(turned[2]), split(turned[3])
        words = add_both(splat_i16x16(0), a, x, a0, a1)
        words = add_both(words, b, x, b0, b1)
        words = add_both(words, c, x, c0, c1)
        found = finish(found, add_both(words, d, x, d0, d1), factors, x)
        return (turn(loaded), scales_of(behind)), found

    @inline
    def two(kept, p, behind, x, y, found, other):
        turned, factors = kept
        loaded = load(behind)
        a = split(turned[0])
        words, more = add_both(splat_i16x16(0), a, x, a0, a1), add_both(splat_i16x16(0), a, y, a0, a1)
        b = split(turned[1])
        words, more = add_both(words, b, x, b0, b1), add_both(more, b, y, b0, b1)
        c = split(turned[2])
        words, more = add_both(words, c, x, c0, c1), add_both(more, c, y, c0, c1)
        d = split(turned[3])
        words, more = add_both(words, d, x, d0, d1), add_both(more, d, y, d0, d1)
        found, other = finish(found, words, factors, x), finish(other, more, factors, y)
        return (turn(loaded), scales_of(behind)), found, other

    return UnitsAhead(begin, one, two)


def _units_of_values(kind: Any) -> UnitsAhead:
    """Of nibbles that stand for larger values: four vectors of weights at a time."""
    stages, steps = turned_of(kind).stages, make_half_steps(kind)
    load, turn, split, scales_of, finish = stages.load, stages.turn, stages.split, steps.scales, steps.finish
    places = tuple(place for pair in stages.places for place in pair)
    offsets = tuple(64 * (place % 4) + LAST_HALVES * (place // 4) for place in places)
    sums, sums_of_two = make_sums(kind, True, offsets[:4])
    more_sums, more_sums_of_two = make_sums(kind, True, offsets[4:])

    @inline
    def begin(p):
        return turn(load(p))

    @inline
    def one(turned, p, behind, x, found):
        loaded, scales, ones = load(behind), scales_of(p), splat_i16x16(1)
        total = sums(split(turned[0]) + split(turned[1]), x, ones)
        total = total + more_sums(split(turned[2]) + split(turned[3]), x, ones)
        return turn(loaded), finish(total, scales, x, found)

    @inline
    def two(turned, p, behind, x, y, found, other):
        loaded, scales, ones = load(behind), scales_of(p), splat_i16x16(1)
        total, more = sums_of_two(split(turned[0]) + split(turned[1]), x, y, ones)
        a, b = more_sums_of_two(split(turned[2]) + split(turned[3]), x, y, ones)
        return turn(loaded), finish(total + a, scales, x, found), finish(more + b, scales, y, other)

    return UnitsAhead(begin, one, two)


def _units_of_halves(kind: Any) -> UnitsAhead:
    """By halves of blocks: what is kept of a unit are the first ones."""
    first_of, last_of = turned_of(kind).halves
    steps = make_half_steps(kind)
    scales_of, factors, finish = steps.scales, steps.factors, steps.finish
    sums, sums_of_two = steps.sums, steps.sums_of_two

    @inline
    def one(first, p, behind, x, found):
        last, scales = last_of(p), scales_of(p)
        total = sums(first, x, factors(scales)[0])
        first = first_of(behind)
        total = total + sums(last, x + LAST_HALVES, factors(scales)[1])
        return first, finish(total, scales, x, found)

    @inline
    def two(first, p, behind, x, y, found, other):
        last, scales = last_of(p), scales_of(p)
        total, more = sums_of_two(first, x, y, factors(scales)[0])
        first = first_of(behind)
        a, b = sums_of_two(last, x + LAST_HALVES, y + LAST_HALVES, factors(scales)[1])
        return first, finish(total + a, scales, x, found), finish(more + b, scales, y, other)

    return UnitsAhead(first_of, one, two)


def _units_ahead(kind: Any) -> UnitsAhead:
    if not turned_of(kind).stages:
        return _units_of_halves(kind)
    in_words = 16 * LARGEST_TOKEN * largest_of(kind) < 2**15
    return _units_of_nibbles(kind) if in_words else _units_of_values(kind)


def make_rows_of_few(kind: Any) -> tuple[Any, ...]:
    """`rows_of_one(rows, stride, count, end, columns, x, spare, out)`, and with y behind x `rows_of_two`.

    Some types have only the first: their second token costs less where four rows take turns.

    x, y: a token's records. Results are written to out, float32 [token][ROWS].
    """
    units = _units_ahead(kind)
    begin, one, two = units.begin, units.one, units.two
    ask_ahead, whole_units, unit_place = make_prefetch(kind), make_whole_units(kind), make_unit_place(kind)

    @inline
    def place_behind(row, following, columns, unit):
        """Of the unit behind one: the row's next, or the first of the row that follows."""
        is_last = unit + 1 == (columns + UNIT - 1) // UNIT
        return unit_place(following, columns, 0) if is_last else unit_place(row, columns, unit + 1)

    @inline
    def rows_of_one(rows, stride, count, end, columns, x, spare, out):
        row = whole_units(rows, end, columns, spare)
        p = unit_place(row, columns, 0)
        kept = begin(p)
        for i in range(count):
            place = spare + (i + 1) % 2 * ROW_SPARE_BYTES
            following = whole_units(rows + min(i + 1, count - 1) * stride, end, columns, place)
            found = zero_f32x8()
            for unit in range((columns + UNIT - 1) // UNIT):
                behind = place_behind(row, following, columns, unit)
                ask_ahead(behind)
                kept, found = one(kept, p, behind, x + unit * ROW_RECORD_BYTES, found)
                p = behind
            store_f32(out + 4 * i, sum_lanes(found))
            row = following

    @inline
    def rows_of_two(rows, stride, count, end, columns, x, y, spare, out):
        row = whole_units(rows, end, columns, spare)
        p = unit_place(row, columns, 0)
        kept = begin(p)
        for i in range(count):
            place = spare + (i + 1) % 2 * ROW_SPARE_BYTES
            following = whole_units(rows + min(i + 1, count - 1) * stride, end, columns, place)
            found, other = zero_f32x8(), zero_f32x8()
            for unit in range((columns + UNIT - 1) // UNIT):
                behind, at = place_behind(row, following, columns, unit), unit * ROW_RECORD_BYTES
                ask_ahead(behind)
                kept, found, other = two(kept, p, behind, x + at, y + at, found, other)
                p = behind
            store_f32(out + 4 * i, sum_lanes(found))
            store_f32(out + 4 * (ROWS + i), sum_lanes(other))
            row = following

    return (rows_of_one, rows_of_two) if turned_of(kind).two_ahead else (rows_of_one,)
