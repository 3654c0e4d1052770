"""Weights to IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS and IQ3_S: magnitudes of a grid, signs, and scales of blocks.

A block of 16 or 32 weights is fitted by trying scales. At each, magnitudes become codes, and codes that are
not on the grid become the candidate with the least error. What leaves the least weighted error stays, with
the scale of least squares for it, at which entries are chosen once more. The scales of the blocks of 256
weights are stored as odd multiples, in four bits, of a 31st of the largest.

Where only seven of eight signs are stored, the number of minus signs must be even: in a group that has an odd
one, the weight that matters least gets the wrong sign, and a negative magnitude.

Following `quantize_row_iq2_xs_impl` and its siblings in llama.cpp's ggml-quants.c, with one difference:
there, the first scale of IQ2_XXS comes of a fit in which negative magnitudes, as unsigned bytes, become the
largest.

Types whose entries have as many places share a kernel, which is told about the type (`grid_types.py`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...simd.addresses import (
    argument,
    float_argument,
    inline,
    load_u8,
    load_u16,
    store_f32,
    store_i16,
    store_i64,
    store_u8,
)
from ...simd.comparisons import greater, least_lane, mask_bits
from ...simd.conversions import float_to_half, narrow_to_i8, round_to_int, to_float
from ...simd.vectors import (
    load_f32x8,
    load_f32x16,
    load_i8x16,
    max_lane,
    maximum,
    minimum,
    splat_f32x8,
    splat_f32x16,
    store,
    sum_lanes,
    zero_f32x8,
    zero_f32x16,
    zero_i32x16,
)
from ...simd.words import change_signs, count_bits
from .arguments import QuantizeRows
from .grid_packing import pack_iq2, pack_iq3
from .grid_scratch import (
    CODES,
    MAGNITUDES,
    MEMO_BYTES,
    MEMOS,
    NUMBERS,
    PRODUCTS,
    ROOTS,
    SCALES,
    SIGNS,
    SOURCE,
    TRIAL,
    WEIGHTS,
)
from .grid_search import (
    INFINITY,
    codes_at,
    entries_of_4,
    entry_found,
    entry_of_8,
    key_of_8,
    keys_of_4,
    make_best_candidate,
)
from .grid_source import SMALLEST, SUPER_BLOCK, load_super_block
from .grid_types import GridType, Packing, Renewed
from .lanes import hidden, square_root
from .source import largest_lane

ONE = np.float32(1.0)


@inline
def _weigh(work, kind, first, variance, importance):
    """A block's signs, magnitudes and weights of errors; gives the largest magnitude.

    first: number of the block's first weight. importance: address of that of 256 columns, or 0.
    """
    most = splat_f32x8(-INFINITY)
    floor = np.float32(float_argument(kind, GridType.FLOOR)) * variance
    for i in range(first, first + argument(kind, GridType.BLOCK), 8):
        x = load_f32x8(work + SOURCE + 4 * i)
        if importance:
            w = load_f32x8(importance + 4 * i) * square_root(splat_f32x8(variance) + x * x)
        else:
            w = x * x + splat_f32x8(floor)
        signs = mask_bits(greater(zero_f32x8(), x))
        magnitudes = change_signs(signs, x)
        if argument(kind, GridType.EVEN) & count_bits(signs):
            loss = w * x * x
            least = mask_bits(greater(loss, splat_f32x8(least_lane(loss)))) ^ 0xFF
            least &= -least  # the first of equal ones
            signs ^= least
            magnitudes = change_signs(least, magnitudes)
        store(work + WEIGHTS + 4 * i, w)
        store(work + ROOTS + 4 * i, square_root(w))
        store(work + MAGNITUDES + 4 * i, magnitudes)
        store(work + PRODUCTS + 4 * i, w * magnitudes)
        store_u8(work + SIGNS + i // 8, signs)
        most = maximum(magnitudes, most)
    return max_lane(most)


def _make_fit(places: int) -> Any:
    """`fit(work, kind, first, most)`: the entries of a block, whose numbers it stores; gives the scale.

    first: number of the block's first weight. most: the largest magnitude.
    """
    of_8, best_candidate = places == 8, make_best_candidate(places)
    top_code = np.float32(2.0 if of_8 else 7.0)
    top = np.float32(2.0) * top_code + ONE
    key_mask = 0xFFFF if of_8 else 0xFFF

    @inline
    def choose(work, kind, at, entry, inverse, scale, kept, numbers):
        """Numbers of entries for eight weights, to where trials are; gives the bits of those on the grid."""
        exact = 0
        codes = codes_at(work + MAGNITUDES + at, inverse, top_code)
        keys = key_of_8(codes) if of_8 else keys_of_4(codes)
        for j in range(0, hidden(8), places):
            if (kept >> entry) & 1:
                found = load_u16(numbers + 2 * entry)
            else:
                found = entry_found(argument(kind, GridType.KEYS), (keys >> (8 * j)) & key_mask)
                if found >= 0:
                    exact |= 1 << entry
                else:
                    here, chunks = work + at + 4 * j, argument(kind, GridType.CHUNKS)
                    memo = work + MEMOS + MEMO_BYTES * entry
                    found = best_candidate(chunks, found, scale, here + MAGNITUDES, here + ROOTS, memo)
            store_i16(work + TRIAL + 2 * entry, found)
            entry += 1
        return exact

    @inline
    def fit(work, kind, first, most):
        size, steps, renewed = (
            argument(kind, GridType.BLOCK),
            argument(kind, GridType.STEPS),
            argument(kind, GridType.RENEWED),
        )
        step, entries = np.float32(float_argument(kind, GridType.STEP)), argument(kind, GridType.ENTRIES)
        numbers, all_entries = work + NUMBERS + 2 * (first // places), (1 << (size // places)) - 1
        scale, divisor = most / top, most
        if argument(kind, GridType.PACKING) == Packing.IQ2_XXS:
            scale = _fit_to_multiples(work, first, most)
            divisor = np.float32(3.0) * scale
        best, exact = np.float32(0.0), 0
        for entry in range(size // places):
            store_i64(work + MEMOS + MEMO_BYTES * entry, 0)
        for t in range(2 * steps + 2):
            last, kept = t == 2 * steps + 1, 0
            if last:
                if scale <= 0 or (exact == all_entries and renewed != Renewed.ALL):
                    break
                if renewed == Renewed.OFF_GRID:
                    kept = exact
                current, inverse = scale, ONE / scale
            else:
                inverse = (top + np.float32(t - steps) * step) / divisor
                current = ONE / inverse
            exact_here = 0
            fits, squares = zero_f32x8(), zero_f32x8()
            for i in range(0, size, 8):
                at, entry = 4 * (first + i), i // places
                exact_here |= choose(work, kind, at, entry, inverse, current, kept, numbers)
                trial = work + TRIAL + 2 * entry
                q = entry_of_8(entries, trial) if of_8 else entries_of_4(entries, trial)
                fits = fits + load_f32x8(work + PRODUCTS + at) * q
                squares = squares + load_f32x8(work + WEIGHTS + at) * q * q
            fitted, square = sum_lanes(fits), sum_lanes(squares)
            if last or t == 0 or (square > 0 and fitted * fitted > best * square):
                if square > 0:
                    scale = fitted / square
                    best = scale * fitted
                exact = exact_here
                store(numbers, load_i8x16(work + TRIAL))
        return scale

    return fit


@inline
def _fit_to_multiples(work, first, most):
    """The scale of the best fit of 32 magnitudes to multiples, up to four, of a scale."""
    least, scale = INFINITY, most
    for t in range(-4, hidden(5)):
        inverse = (np.float32(4.0) + np.float32(0.1) * np.float32(t)) / most
        errors, fits, squares = zero_f32x8(), zero_f32x8(), zero_f32x8()
        for i in range(first, first + hidden(32), 8):
            x, w = load_f32x8(work + MAGNITUDES + 4 * i), load_f32x8(work + WEIGHTS + 4 * i)
            q = to_float(round_to_int(minimum(x * splat_f32x8(inverse), splat_f32x8(4.0))))
            off = x - q * splat_f32x8(ONE / inverse)
            errors = errors + w * off * off
            fits = fits + w * x * q
            squares = squares + w * q * q
        error, square = sum_lanes(errors), sum_lanes(squares)
        if error < least and square > 0:
            least, scale = error, sum_lanes(fits) / square
    return scale


@inline
def _store_scales(work, largest, factor, out):
    """The codes of the blocks' scales, and what they are multiples of, to the output's first two bytes."""
    unit = largest / np.float32(31.0)
    inverse = ONE / unit if unit > 0 else np.float32(0.0)
    t = (load_f32x16(work + SCALES) * splat_f32x16(inverse) - splat_f32x16(1.0)) * splat_f32x16(0.5)
    codes = round_to_int(minimum(maximum(t, zero_f32x16()), splat_f32x16(15.0)))
    store(work + CODES, narrow_to_i8(codes))
    store(out, float_to_half(splat_f32x8(unit * factor)))  # 16 bytes, all but 2 of them overwritten next


def quantize(places: str) -> Any:
    """Kernel: weights to a type whose entries have so many places."""
    per_entry = int(places)
    fit = _make_fit(per_entry)
    pack = pack_iq2 if per_entry == 8 else pack_iq3

    @inline
    def quantize_block(work, kind, first, variance, importance):
        """Fill in what is known of a block; gives its scale."""
        most, scale = _weigh(work, kind, first, variance, importance), np.float32(0.0)
        if most >= SMALLEST:
            scale = fit(work, kind, first, most)
        else:
            store(work + NUMBERS + 2 * (first // per_entry), zero_i32x16())
        size = argument(kind, GridType.BLOCK)
        if scale < 0:
            scale = -scale
            for i in range(first // 8, (first + size) // 8):
                store_u8(work + SIGNS + i, load_u8(work + SIGNS + i) ^ 0xFF)
        store_f32(work + SCALES + 4 * (first // size), scale)
        return scale

    def kernel(args, thread, threads):
        source, source_kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
        work, kind = argument(args, QuantizeRows.SCRATCH), argument(args, QuantizeRows.TYPE)
        importance, columns = argument(args, QuantizeRows.IMPORTANCE), argument(args, QuantizeRows.COLUMNS)
        out, worst = argument(args, QuantizeRows.OUT), zero_i32x16()
        per_square = np.float32(float_argument(kind, GridType.VARIANCE))
        for start in range(0, argument(args, QuantizeRows.N_WEIGHTS), SUPER_BLOCK):
            mean_square, worst = load_super_block(work, source, source_kind, start, worst)
            variance = mean_square * per_square
            here = importance + 4 * (start % columns) if importance else 0
            store(work + SCALES, zero_f32x16())
            largest = np.float32(0.0)
            for first in range(0, SUPER_BLOCK, argument(kind, GridType.BLOCK)):
                largest = max(largest, quantize_block(work, kind, first, variance, here))
            _store_scales(work, largest, np.float32(float_argument(kind, GridType.FACTOR)), out)
            out += pack(work, argument(kind, GridType.PACKING), out)
        store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))

    return kernel
