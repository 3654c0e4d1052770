"""Weights to IQ1_S and IQ1_M: -1, 0 or 1, all shifted by an eighth up or down, and a scale for each block.

    weight = scale * (2 a + 1) * (entry ± 1/8)

A block's weights, in ascending order, are cut in three runs: of -1, of 0 and of 1. Every pair of cuts is
tried with every choice of shifts (one for a block of 32 of IQ1_S; one for each half of a block of 16 of
IQ1_M), and what leaves the least weighted error for its scale of least squares stays. Then eight codes that
are not on the grid become the candidate with the least error.

With f and w the sums of weight * x and of weight up to a cut, n being all, and shift s, least squares need

    Σ weight q x = f(n) - f(first cut) - f(second cut) + s f(n)
    Σ weight q²  = (1 + s²) w(n) + w(first) - w(second) + 2 s (w(n) - w(first) - w(second))

Following `quantize_row_iq1_s_impl` and `quantize_row_iq1_m_impl` in llama.cpp's ggml-quants.c.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import (
    argument,
    float_argument,
    inline,
    load_f32,
    load_i32,
    store_f32,
    store_i16,
    store_i32,
    store_i64,
    store_u8,
)
from ...simd.comparisons import at_least, greater, least_lane, not_equal, select
from ...simd.conversions import float_to_half, narrow_to_i8, round_to_int, to_float
from ...simd.vectors import (
    divide,
    i32x8,
    largest_magnitude,
    load_f32x8,
    load_f32x16,
    load_i32x8,
    make_constant,
    max_lane,
    maximum,
    minimum,
    splat_f32x8,
    splat_f32x16,
    splat_i32x8,
    store,
    sum_lanes,
    zero_f32x8,
    zero_f32x16,
    zero_i32x8,
    zero_i32x16,
)
from .arguments import QuantizeRows
from .grid_packing import pack_iq1
from .grid_scratch import (
    CODES,
    FITS,
    MEMOS,
    NUMBERS,
    ORDER,
    RANKS,
    SCALES,
    SHIFTED,
    SIGNS,
    SOURCE,
    SQUARES,
    SUMS,
    UNIT,
    WEIGHTS,
)
from .grid_search import entry_found, entry_of_8, key_of_8, make_best_candidate
from .grid_source import SMALLEST, SUPER_BLOCK, load_super_block
from .grid_types import GridType, Packing
from .lanes import square_root
from .source import largest_lane

ONE, SHIFT = np.float32(1.0), np.float32(0.125)
NOUGHTS = 0x5555
"""The key of eight noughts."""
lane_numbers = make_constant(i32x8, list(range(8)))
best_candidate = make_best_candidate(8)

PER_SUM = 4 * 48
FITS_A, SQUARES_A, FITS_B, SQUARES_B = (SUMS + PER_SUM * i for i in range(4))
"""Sums up to each cut: of weight * x and of weight, over the weights of the first shift and of the second."""


@inline
def _weigh(work, first, size, variance, importance):
    """A block's weights of errors."""
    for i in range(first, first + size, 8):
        x = load_f32x8(work + SOURCE + 4 * i)
        w = x * x
        if importance:
            w = load_f32x8(importance + 4 * i) * square_root(splat_f32x8(variance) + x * x)
        store(work + WEIGHTS + 4 * i, w)


@inline
def _rank(work, first, size):
    """The rank of each of a block's weights in ascending order, and the number of that of each rank."""
    values = work + SOURCE + 4 * first
    for i in range(0, size, 8):
        x, here = load_f32x8(values + 4 * i), lane_numbers() + splat_i32x8(i)
        ranks = zero_i32x8()
        for j in range(size):
            other = splat_f32x8(load_f32(values + 4 * j))
            before = greater(x, other) | (at_least(x, other) & greater(here, splat_i32x8(j)))
            ranks = ranks + select(before, splat_i32x8(1), zero_i32x8())
        store(work + RANKS + 4 * i, ranks)
    for i in range(size):
        store_i32(work + ORDER + 4 * np.int64(load_i32(work + RANKS + 4 * i)), i)


@inline
def _sum_up(work, first, size, border):
    """The sums up to each cut; weights from number `border` of the block on have the second shift."""
    fit_a = square_a = fit_b = square_b = np.float32(0.0)
    for cut in range(size + 16):
        store_f32(work + FITS_A + 4 * cut, fit_a)
        store_f32(work + SQUARES_A + 4 * cut, square_a)
        store_f32(work + FITS_B + 4 * cut, fit_b)
        store_f32(work + SQUARES_B + 4 * cut, square_b)
        if cut < size:
            i = np.int64(load_i32(work + ORDER + 4 * cut))
            w = load_f32(work + WEIGHTS + 4 * (first + i))
            wx = w * load_f32(work + SOURCE + 4 * (first + i))
            if i < border:
                fit_a += wx
                square_a += w
            else:
                fit_b += wx
                square_b += w


@inline
def _cut(work, size, both):
    """The best cuts and shifts: the scale, and (first cut * 64 + second cut) * 4 + shifts.

    Bit 1 of the shifts is set where the first is down, bit 0 where the second is. both: whether the second
    may differ from the first.
    """
    best, ratio, place = splat_f32x8(np.float32(-1.0)), zero_f32x8(), zero_i32x8()
    f_a, f_b = (
        splat_f32x8(load_f32(work + FITS_A + 4 * size)),
        splat_f32x8(load_f32(work + FITS_B + 4 * size)),
    )
    w_a, w_b = (
        splat_f32x8(load_f32(work + SQUARES_A + 4 * size)),
        splat_f32x8(load_f32(work + SQUARES_B + 4 * size)),
    )
    square, twice = splat_f32x8(ONE + SHIFT * SHIFT), splat_f32x8(np.float32(2.0) * SHIFT)
    for one in range(size + 1):
        f_1 = splat_f32x8(load_f32(work + FITS_A + 4 * one) + load_f32(work + FITS_B + 4 * one))
        w_1a = splat_f32x8(load_f32(work + SQUARES_A + 4 * one))
        w_1b = splat_f32x8(load_f32(work + SQUARES_B + 4 * one))
        for two in range(one, size + 1, 8):
            f_2 = load_f32x8(work + FITS_A + 4 * two) + load_f32x8(work + FITS_B + 4 * two)
            w_2a, w_2b = load_f32x8(work + SQUARES_A + 4 * two), load_f32x8(work + SQUARES_B + 4 * two)
            fit = f_a + f_b - f_1 - f_2
            weight = square * (w_a + w_b) + w_1a + w_1b - w_2a - w_2b
            of_a, of_b = twice * (w_a - w_1a - w_2a), twice * (w_b - w_1b - w_2b)
            here = (splat_i32x8(64 * one + two) + lane_numbers()) << splat_i32x8(2)
            for shifts in range(4):
                if both or shifts == 0 or shifts == 3:
                    s_a = splat_f32x8(-ONE if shifts & 2 else ONE)
                    s_b = splat_f32x8(-ONE if shifts & 1 else ONE)
                    f = fit + splat_f32x8(SHIFT) * (s_a * f_a + s_b * f_b)
                    w = weight + s_a * of_a + s_b * of_b
                    r = divide(f, w)
                    better = greater(r * f, best) & greater(w, zero_f32x8())
                    best = select(better, r * f, best)
                    ratio = select(better, r, ratio)
                    place = select(better, here + splat_i32x8(shifts), place)
    most = splat_f32x8(max_lane(best))
    found = least_lane(select(greater(most, best), splat_i32x8(0x7FFFFFFF), place))
    scale = sum_lanes(select(not_equal(place, splat_i32x8(found)), zero_f32x8(), ratio))
    return scale, np.int64(found)


@inline
def _choose(work, kind, first, size, border, scale, cuts):
    """The entries for a block's codes, whose numbers it stores.

    Gives Σ weight q x, Σ weight q² and the shifts.
    """
    shifts, one, two = cuts & 3, cuts >> 8, min((cuts >> 2) & 63, size)
    flipped = scale < 0
    if flipped:
        scale, shifts = -scale, shifts ^ 3
    fits, squares = zero_f32x8(), zero_f32x8()
    for i in range(0, size, 8):
        at = 4 * (first + i)
        down = shifts & (2 if i < border else 1)
        offset = -ONE - SHIFT if down else SHIFT - ONE  # of a value from its code
        ranks = load_i32x8(work + RANKS + 4 * i)
        codes = select(greater(splat_i32x8(one), ranks), zero_i32x8(), splat_i32x8(1))
        codes = codes + select(greater(splat_i32x8(two), ranks), zero_i32x8(), splat_i32x8(1))
        if flipped:
            codes = splat_i32x8(2) - codes
        x, w = load_f32x8(work + SOURCE + at), load_f32x8(work + WEIGHTS + at)
        number = entry_found(argument(kind, GridType.KEYS), key_of_8(codes))
        if number < 0:
            store_i64(work + MEMOS, 0)
            store(work + SHIFTED, x - splat_f32x8(scale * offset))
            chunks = argument(kind, GridType.CHUNKS)
            number = best_candidate(chunks, number, scale, work + SHIFTED, work + WEIGHTS + at, work + MEMOS)
        numbers = work + NUMBERS + 2 * ((first + i) // 8)
        store_i16(numbers, number)
        q = entry_of_8(argument(kind, GridType.ENTRIES), numbers) + splat_f32x8(offset)
        fits = fits + w * q * x
        squares = squares + w * q * q
    return sum_lanes(fits), sum_lanes(squares), shifts


@inline
def _quantize_block(work, kind, first, variance, importance):
    """Fill in what is known of a block; gives its scale."""
    size = argument(kind, GridType.BLOCK)
    both = argument(kind, GridType.PACKING) == Packing.IQ1_M
    border = size // 2 if both else size
    block, most = first // size, zero_f32x8()
    for i in range(first, first + size, 8):
        x = load_f32x8(work + SOURCE + 4 * i)
        most = splat_f32x8(largest_magnitude(x, most))
    scale, fit, square, shifts = np.float32(0.0), np.float32(0.0), np.float32(0.0), 0
    if max_lane(most) >= SMALLEST:
        _weigh(work, first, size, variance, importance)
        _rank(work, first, size)
        _sum_up(work, first, size, border)
        scale, cuts = _cut(work, size, both)
        fit, square, shifts = _choose(work, kind, first, size, border, scale, cuts)
        scale = fit / square if fit > 0 and square > 0 else abs(scale)
    else:
        noughts = entry_found(argument(kind, GridType.KEYS), NOUGHTS)
        for i in range(first // 8, (first + size) // 8):
            store_i16(work + NUMBERS + 2 * i, noughts)
    store_f32(work + SCALES + 4 * block, scale)
    store_f32(work + FITS + 4 * block, fit)
    store_f32(work + SQUARES + 4 * block, square)
    store_u8(work + SIGNS + block, shifts)
    return scale


@inline
def _store_scales(work, largest, factor, is_iq1_m):
    """The codes of the blocks' scales, and as float16 what they are multiples of.

    For IQ1_M that is the scale of least squares of all weights with these codes.
    """
    unit = largest / np.float32(15.0)
    inverse = ONE / unit if unit > 0 else np.float32(0.0)
    t = (load_f32x16(work + SCALES) * splat_f32x16(inverse) - splat_f32x16(1.0)) * splat_f32x16(0.5)
    codes = round_to_int(minimum(maximum(t, zero_f32x16()), splat_f32x16(7.0)))
    store(work + CODES, narrow_to_i8(codes))
    if is_iq1_m:
        multiples = to_float(codes + codes) + splat_f32x16(1.0)
        fit = sum_lanes(load_f32x16(work + FITS) * multiples)
        square = sum_lanes(load_f32x16(work + SQUARES) * multiples * multiples)
        if square > 0:
            unit = fit / square
    store(work + UNIT, float_to_half(splat_f32x8(unit * factor)))


def quantize(grid: str) -> Any:
    """Kernel: weights to either type."""

    def kernel(args, thread, threads):
        source, source_kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
        work, kind = argument(args, QuantizeRows.SCRATCH), argument(args, QuantizeRows.TYPE)
        importance, columns = argument(args, QuantizeRows.IMPORTANCE), argument(args, QuantizeRows.COLUMNS)
        out, worst = argument(args, QuantizeRows.OUT), zero_i32x16()
        factor, packing = np.float32(float_argument(kind, GridType.FACTOR)), argument(kind, GridType.PACKING)
        per_square = np.float32(float_argument(kind, GridType.VARIANCE))
        for start in range(0, argument(args, QuantizeRows.N_WEIGHTS), SUPER_BLOCK):
            mean_square, worst = load_super_block(work, source, source_kind, start, worst)
            variance = mean_square * per_square
            here = importance + 4 * (start % columns) if importance else 0
            largest = np.float32(0.0)
            for first in range(0, SUPER_BLOCK, argument(kind, GridType.BLOCK)):
                largest = max(largest, _quantize_block(work, kind, first, variance, here))
            _store_scales(work, largest, factor, packing == Packing.IQ1_M)
            out += pack_iq1(work, packing, out)
        store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))

    return kernel
