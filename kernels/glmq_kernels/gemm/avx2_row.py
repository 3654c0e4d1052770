"""The inner step of the row form in registers of 32 bytes: 256 turned weights of a row times one token.

Eight products of weights (`formats/unpack/avx2_turned.py`) with a token's bytes in the same order become the
sums of eight blocks, which are scaled together. With u, scales and minima as in `formats/unpack`:

    found += float(sums of u x) * (scales * x scales) + minima * (x scales * sums of x)

Products of bytes are added in words as far as these cannot overflow, for all of a block where u is at most
16. Where groups have 16 columns and scales are integers, halves of blocks are scaled as integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..formats.unpack.avx2_turned import Avx2Turned, largest_of, offset_of, turned_of
from ..jit import isa
from ..simd.addresses import inline, load_i64, store_f32
from ..simd.conversions import to_float, widen_to_i32
from ..simd.dot import dot_value, multiply_pairs
from ..simd.pair_products import multiply_signed_bytes, multiply_words, takes_signed
from ..simd.vectors import (
    I64,
    call_llvm,
    f32x8,
    f32x16,
    fma,
    i8x32,
    i16x16,
    i32x8,
    load_f32x8,
    load_i16x16,
    load_value,
    make_constant,
    make_shuffle,
    splat_f32x8,
    splat_i16x16,
    store,
    sum_lanes,
    zero_f32x8,
)
from .row_record import LARGEST_TOKEN, RECORD_SCALES, RECORD_SUM16, RECORD_SUM32, UNIT
from .row_units import GROUP_SUMS_BYTES, ROW_GROUP, make_prefetch, make_unit_place, make_whole_units
from .sizes import ROW_RECORD_BYTES

LAST_HALVES = 32
"""From the bytes of the first halves of blocks in a record to those of the last halves."""

first_groups, last_groups = make_shuffle(range(0, 16, 2)), make_shuffle(range(1, 16, 2))
first_words = make_shuffle([word // 2 * 2 for word in range(16)])
last_words = make_shuffle([word // 2 * 2 + 1 for word in range(16)])


HALF_BY_HALF = tuple(64 * (i % 4) + LAST_HALVES * (i // 4) for i in range(8))
"""Where a token's bytes are for eight vectors of weights, those of the first halves of blocks first."""


def make_sums(kind: Any, in_words: bool, places: tuple[int, ...] = HALF_BY_HALF) -> tuple[Any, Any]:
    """`sums(weights, x, factors) -> i32x8`: some vectors of weights times a token's bytes behind x; and
    `sums_of_two(weights, x, y, factors)` of two tokens, which meet each vector in turn.

    in_words: through words, which are multiplied with factors (i16x16); else by dot products. places: of the
    token's bytes for the vectors.
    """
    largest = largest_of(kind)
    fit = max(n for n in (1, 2, 4, 8) if n == 1 or 2 * n * LARGEST_TOKEN * largest < 2**15)
    product = multiply_signed_bytes if takes_signed(largest) else multiply_pairs

    def token_bytes(builder: Any, x: Any, i: int) -> Any:
        return load_value(builder, builder.add(x, I64(places[i])), i8x32.llvm)

    def by_dots(builder: Any, weights: list[Any], x: Any) -> Any:
        chains = [ir.Constant(i32x8.llvm, [0] * 8)] * 2
        for i, weight in enumerate(weights):
            chains[i % 2] = dot_value(builder, chains[i % 2], weight, token_bytes(builder, x, i), wide=True)
        return builder.add(*chains)

    def by_words(builder: Any, weights: list[Any], tokens: list[Any], factors: Any) -> list[Any]:
        totals: list[Any] = [None] * len(tokens)
        words: list[Any] = [None] * len(tokens)
        for i, weight in enumerate(weights):
            for t, x in enumerate(tokens):
                new = product(builder, weight, token_bytes(builder, x, i))
                words[t] = new if i % fit == 0 else builder.add(words[t], new)
                if (i + 1) % fit == 0 or i + 1 == len(weights):
                    new = call_llvm(builder, "llvm.x86.avx2.pmadd.wd", i32x8.llvm, [words[t], factors])
                    totals[t] = builder.add(totals[t], new) if totals[t] else new
        return totals

    @intrinsic
    def sums(typing: Any, weights: Any, x: Any, factors: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vectors = [builder.extract_value(args[0], i) for i in range(weights.count)]
            if not in_words:
                return by_dots(builder, vectors, args[1])
            return by_words(builder, vectors, [args[1]], args[2])[0]

        return i32x8(weights, types.int64, factors), codegen

    @intrinsic
    def sums_of_two(typing: Any, weights: Any, x: Any, y: Any, factors: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vectors = [builder.extract_value(args[0], i) for i in range(weights.count)]
            found = by_words(builder, vectors, [args[1], args[2]], args[3])
            return context.make_tuple(builder, sig.return_type, found)

        return types.UniTuple(i32x8, 2)(weights, types.int64, types.int64, factors), codegen

    return sums, sums_of_two


@cache
def make_scales(kind: Any, turned: Avx2Turned) -> Any:
    """`scales_of(p)`: scales, and the factors of a token's sums: minima, or scales times minus the offset."""
    unpack, offset, scales = kind.unpack, -offset_of(kind), turned.scales
    lanes = f32x8 if kind.GROUP == 32 else f32x16
    offsets = make_constant(lanes, [offset] * lanes.lanes)
    parts = make_constant(lanes, [1 / n for n in turned.times or (1,) * 8 for _ in range(32 // kind.GROUP)])

    @inline
    def unpack_scales(p):
        _, scales, minima = unpack(p)
        return scales, minima

    scales_and_minima = scales or unpack_scales

    @inline
    def scales_and_offsets(p):
        scales, _ = scales_and_minima(p)
        return scales * parts(), scales * offsets()

    return scales_and_minima if kind.HAS_MINIMUM else scales_and_offsets


@dataclass(frozen=True)
class HalfSteps:
    """A step in parts, which take the first or the last halves of the blocks: four i8x32 of weights.

    A token's bytes for the last halves lie LAST_HALVES behind those for the first.

    scales(p)                            what else is needed of 256 weights
    factors(scales)                      what `sums` multiplies with in the first halves, and in the last
    sums(weights, x, factors)            products with a token, added up by blocks: i32x8
    sums_of_two(weights, x, y, factors)  the same of two tokens
    finish(total, scales, x, found)      found, and the sums of whole blocks scaled
    """

    scales: Callable[[Any], Any]
    factors: Callable[[Any], Any]
    sums: Callable[..., Any]
    sums_of_two: Callable[..., Any]
    finish: Callable[[Any, Any, Any, Any], Any]


def _make_block_halves(kind: Any, turned: Avx2Turned) -> HalfSteps:
    """Where groups are blocks of 32 columns."""
    in_words, has_sums = isa.current().dot == "maddubs", not takes_signed(largest_of(kind))
    sums, sums_of_two = make_sums(kind, in_words)

    @inline
    def factors(scales):
        return splat_i16x16(1), splat_i16x16(1)

    @inline
    def finish(total, both, x, found):
        scales, minima = both
        if has_sums:
            found = fma(minima, load_f32x8(x + RECORD_SUM32), found)
        return fma(to_float(total), scales * load_f32x8(x + RECORD_SCALES), found)

    return HalfSteps(make_scales(kind, turned), factors, sums, sums_of_two, finish)


def _make_word_halves(kind: Any, turned: Avx2Turned) -> HalfSteps:
    """Where groups have 16 columns and scales are integers."""
    words, (sums, sums_of_two), has_minimum = turned.words, make_sums(kind, in_words=True), kind.HAS_MINIMUM
    times = turned.times or (1,) * 8
    offsets = make_constant(i16x16, [-kind.OFFSET * n for n in times for _ in range(2)])
    parts = make_constant(f32x8, [1 / n for n in times])

    @inline
    def scales(p):
        groups, minima, scale, minimum = words(p)
        if not has_minimum:
            minima = minima * offsets()
        both = first_words(groups, groups), last_words(groups, groups)
        return both, minima, splat_f32x8(scale) * parts(), splat_f32x8(minimum)

    @inline
    def factors(scales):
        return scales[0]

    @inline
    def finish(total, scales, x, found):
        _, minima, scale, minimum = scales
        x_scales = load_f32x8(x + RECORD_SCALES)
        rest = multiply_words(minima, load_i16x16(x + RECORD_SUM16))
        if has_minimum:
            found = fma(to_float(rest), x_scales * minimum, found)
        else:
            total = total + rest
        return fma(to_float(total), x_scales * scale, found)

    return HalfSteps(scales, factors, sums, sums_of_two, finish)


@cache
def make_half_steps(kind: Any) -> HalfSteps:
    """The steps of a tensor type whose halves of blocks are added up as integers."""
    turned = turned_of(kind)
    return (_make_block_halves if kind.GROUP == 32 else _make_word_halves)(kind, turned)


def _make_whole_step(kind: Any, turned: Avx2Turned) -> tuple[Any, Any]:
    """The step where all of a block is added up as integers."""
    halves, weights_of = make_half_steps(kind), turned.weights
    scales_of, factors, sums, finish = halves.scales, halves.factors, halves.sums, halves.finish

    @inline
    def prepare(p):
        return weights_of(p), scales_of(p)

    @inline
    def step(prepared, x, found):
        weights, scales = prepared
        first, last = factors(scales)
        total = sums(weights[:4], x, first) + sums(weights[4:], x + LAST_HALVES, last)
        return finish(total, scales, x, found)

    @inline
    def step_of_blocks(prepared, x, found):
        weights, scales = prepared
        return finish(sums(weights, x, factors(scales)[0]), scales, x, found)

    return prepare, step_of_blocks if kind.GROUP == 32 else step


def _make_float_step(kind: Any, turned: Avx2Turned) -> tuple[Any, Any]:
    """The step of groups of 16 columns whose scales are floats."""
    in_words, has_sums = isa.current().dot == "maddubs", not takes_signed(largest_of(kind))
    weights_of, scales_of, (sums, _) = turned.weights, make_scales(kind, turned), make_sums(kind, in_words)

    @inline
    def by_halves(v):
        return first_groups(v, v), last_groups(v, v)

    @inline
    def prepare(p):
        scales, minima = scales_of(p)
        return weights_of(p), by_halves(scales), by_halves(minima)

    @inline
    def step(prepared, x, found):
        weights, scales, minima = prepared
        x_scales, ones = load_f32x8(x + RECORD_SCALES), splat_i16x16(1)
        first, last = sums(weights[:4], x, ones), sums(weights[4:], x + LAST_HALVES, ones)
        here = fma(to_float(first), scales[0], to_float(last) * scales[1])
        if has_sums:
            x_sums = to_float(widen_to_i32(load_i16x16(x + RECORD_SUM16)))
            here = fma(first_groups(x_sums, x_sums), minima[0], here)
            here = fma(last_groups(x_sums, x_sums), minima[1], here)
        return fma(here, x_scales, found)

    return prepare, step


@cache
def _make_step(kind: Any) -> tuple[Any, Any]:
    """`prepare(p)`: what is needed of 256 weights. `step(prepared, x, found)`: found and their products."""
    turned = turned_of(kind)
    whole = kind.GROUP == 32 or turned.words is not None
    return (_make_whole_step if whole else _make_float_step)(kind, turned)


def make_rows_of_one(kind: Any) -> Any:
    """`rows_of_one` of an integer format (`avx2_ahead.py`): the sums stay in a register."""
    prepare, step = _make_step(kind)
    ask_ahead, whole_units, unit_place = make_prefetch(kind), make_whole_units(kind), make_unit_place(kind)

    @inline
    def rows_of_one(rows, stride, count, end, columns, x, spare, out):
        for i in range(count):
            row, found = whole_units(rows + i * stride, end, columns, spare), zero_f32x8()
            for unit in range((columns + UNIT - 1) // UNIT):
                p = unit_place(row, columns, unit)
                ask_ahead(p)
                found = step(prepare(p), x + unit * ROW_RECORD_BYTES, found)
            store_f32(out + 4 * i, sum_lanes(found))

    return rows_of_one


def make_rows(kind: Any) -> Any:
    """`add_rows` of an integer format (`gemv.py`): the weights stay in registers."""
    prepare, step = _make_step(kind)
    ask_ahead, whole_units, unit_place = make_prefetch(kind), make_whole_units(kind), make_unit_place(kind)

    @inline
    def add_rows(rows, stride, count, end, columns, tokens, sums, spare):
        rows = whole_units(rows, end, columns, spare)
        for unit in range((columns + UNIT - 1) // UNIT):
            p, at = unit_place(rows, columns, unit), sums
            for _ in range(count):
                ask_ahead(p + (ROW_GROUP - 1) * stride)
                prepared = prepare(p)
                # Of a loop that counts the code generator makes two at once, for which registers are too few.
                next_token, x = tokens, load_i64(tokens)
                while x:
                    store(at, step(prepared, x + unit * ROW_RECORD_BYTES, load_f32x8(at)))
                    at, next_token = at + GROUP_SUMS_BYTES, next_token + 8
                    x = load_i64(next_token)
                p += stride

    return add_rows
