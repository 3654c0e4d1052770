"""The inner step of the row form in registers of 32 bytes: 256 turned weights of a row times one token.

Eight products of weights (`formats/unpack/avx2_turned.py`) with a token's bytes in the same order become the
sums of eight blocks, which are scaled together. With u, scales and minima as in `formats/unpack`:

    found += float(sums of u x) * (scales * x scales) + minima * (x scales * sums of x)

Products of bytes are added in words as far as these cannot overflow, for all of a block where u is at most
16. Where groups have 16 columns and scales are integers, halves of blocks are scaled as integers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..formats.unpack.avx2_turned import Avx2Turned, turned_of
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


def _make_sums(kind: Any, in_words: bool) -> Any:
    """`sums(weights, x, factors) -> i32x8`: four or eight vectors of weights times a token's bytes at x.

    in_words: through words, which are multiplied with factors (i16x16); else by dot products.
    """
    largest = kind.CENTER + kind.LARGEST
    fit = max(n for n in (1, 2, 4, 8) if n == 1 or 2 * n * LARGEST_TOKEN * largest < 2**15)
    product = multiply_signed_bytes if takes_signed(largest) else multiply_pairs

    @intrinsic
    def sums(typing: Any, weights: Any, x: Any, factors: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            def added(values: list[Any]) -> Any:
                while len(values) > 1:
                    values = [builder.add(*values[i : i + 2]) for i in range(0, len(values), 2)]
                return values[0]

            pairs = []
            for i in range(weights.count):
                at = builder.add(args[1], I64(64 * (i % 4) + LAST_HALVES * (i // 4)))
                pairs.append((builder.extract_value(args[0], i), load_value(builder, at, i8x32.llvm)))
            if not in_words:
                chains = [ir.Constant(i32x8.llvm, [0] * 8)] * 2
                for i, pair in enumerate(pairs):
                    chains[i % 2] = dot_value(builder, chains[i % 2], *pair, wide=True)
                return added(chains)
            words = [product(builder, *pair) for pair in pairs]
            parts = [added(words[i : i + fit]) for i in range(0, len(words), fit)]
            name = "llvm.x86.avx2.pmadd.wd"
            return added([call_llvm(builder, name, i32x8.llvm, [part, args[2]]) for part in parts])

        return i32x8(weights, types.int64, factors), codegen

    return sums


@cache
def make_scales(kind: Any, turned: Avx2Turned) -> Any:
    """`scales_of(p)`: scales, and the factors of a token's sums: minima, or scales times minus the offset."""
    unpack, offset, scales = kind.unpack, -float(kind.OFFSET), turned.scales
    offsets = make_constant(f32x8 if kind.GROUP == 32 else f32x16, [offset] * (256 // kind.GROUP))

    @inline
    def unpack_scales(p):
        _, scales, minima = unpack(p)
        return scales, minima

    scales_and_minima = scales or unpack_scales

    @inline
    def scales_and_offsets(p):
        scales, _ = scales_and_minima(p)
        return scales, scales * offsets()

    return scales_and_minima if kind.HAS_MINIMUM else scales_and_offsets


def _make_blocks_step(kind: Any, turned: Avx2Turned) -> tuple[Any, Any]:
    """The step where groups are blocks of 32 columns."""
    in_words, has_sums = isa.current().dot == "maddubs", not takes_signed(kind.CENTER + kind.LARGEST)
    weights_of, scales_of, sums = turned.weights, make_scales(kind, turned), _make_sums(kind, in_words)

    @inline
    def prepare(p):
        return weights_of(p), scales_of(p)

    @inline
    def step(prepared, x, found):
        weights, (scales, minima) = prepared
        if has_sums:
            found = fma(minima, load_f32x8(x + RECORD_SUM32), found)
        factors = scales * load_f32x8(x + RECORD_SCALES)
        return fma(to_float(sums(weights, x, splat_i16x16(1))), factors, found)

    return prepare, step


def _make_words_step(kind: Any, turned: Avx2Turned) -> tuple[Any, Any]:
    """The step of groups of 16 columns whose scales are integers."""
    weights_of, words, sums = turned.weights, turned.words, _make_sums(kind, in_words=True)
    offset, has_minimum = kind.OFFSET, kind.HAS_MINIMUM

    @inline
    def prepare(p):
        scales, minima, scale, minimum = words(p)
        if not has_minimum:
            minima = minima * splat_i16x16(-offset)
        factors = first_words(scales, scales), last_words(scales, scales)
        return weights_of(p), factors, minima, splat_f32x8(scale), splat_f32x8(minimum)

    @inline
    def step(prepared, x, found):
        weights, factors, minima, scale, minimum = prepared
        x_scales = load_f32x8(x + RECORD_SCALES)
        total = sums(weights[:4], x, factors[0]) + sums(weights[4:], x + LAST_HALVES, factors[1])
        rest = multiply_words(minima, load_i16x16(x + RECORD_SUM16))
        if has_minimum:
            found = fma(to_float(rest), x_scales * minimum, found)
        else:
            total = total + rest
        return fma(to_float(total), x_scales * scale, found)

    return prepare, step


def _make_halves_step(kind: Any, turned: Avx2Turned) -> tuple[Any, Any]:
    """The step of groups of 16 columns whose scales are floats."""
    in_words, has_sums = isa.current().dot == "maddubs", not takes_signed(kind.CENTER + kind.LARGEST)
    weights_of, scales_of, sums = turned.weights, make_scales(kind, turned), _make_sums(kind, in_words)

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
    if kind.GROUP == 32:
        return _make_blocks_step(kind, turned)
    return (_make_words_step if turned.words else _make_halves_step)(kind, turned)


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
