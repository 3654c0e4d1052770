"""The inner step of the row form in registers of 32 bytes: 256 paired weights of a row times one token.

A pair of blocks (`formats/unpack/paired.py`) becomes eight sums of four or more products, four of either
block, which are scaled together; so weights pass from the file through few registers. With u, scales and
minima as in `formats/unpack`, x a token's bytes and pairs k = 0..3:

    found += sum over k  float(sums of u x in pair k) * (scales * x scales of pair k)
           + minima * x scales * x sums                     eight blocks at once

Where groups have 16 columns and scales are integers, products are scaled as integers. A single token meets
pair after pair, several meet pairs that stay in registers; a token's numbers are added in the same order.
"""

from __future__ import annotations

from typing import Any

from numba.extending import intrinsic

from ..formats.unpack.paired import PAIRS, Paired, in_registers, paired_of
from ..jit import isa
from ..simd.addresses import inline, load_i64
from ..simd.conversions import to_float, widen_to_i32
from ..simd.dot import dot_value
from ..simd.pair_products import (
    magnitudes,
    make_pick,
    multiply_bytes,
    multiply_words,
    takes_signed,
    with_signs_of,
)
from ..simd.vectors import (
    constant,
    f32x8,
    f32x16,
    fma,
    i8x32,
    i32x8,
    load_f32x8,
    load_i8x32,
    load_i16x16,
    make_constant,
    make_shuffle,
    splat_f32x8,
    splat_i16x16,
    store,
    sum_lanes,
    zero_f32x8,
)
from .row_record import LARGEST_TOKEN, RECORD_SCALES, RECORD_SUM16, RECORD_SUM32, UNIT
from .row_units import SUMS_BYTES, make_prefetch, make_unit_place, make_whole_units
from .sizes import ROW_RECORD_BYTES

PICK_FLOATS = [make_pick(k, "f32", 8) for k in PAIRS]
PICK_WORDS = [make_pick(g, "i16", 16) for g in range(8)]
even_groups = make_shuffle(range(0, 16, 2))
odd_groups = make_shuffle(range(1, 16, 2))
both_groups = make_shuffle([g // 2 for g in range(16)])


def _largest(kind: Any) -> int:
    return int(kind.CENTER + kind.LARGEST)


@intrinsic
def _dot(typing: Any, u: Any, s: Any) -> Any:
    """Sums of four products of neighbouring bytes, by one instruction."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return dot_value(builder, constant(i32x8, [0] * 8), *args, wide=True)

    return i32x8(i8x32, i8x32), codegen


@intrinsic
def _dot_more(typing: Any, sums: Any, u: Any, s: Any) -> Any:
    """The same added to sums."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return dot_value(builder, *args, wide=True)

    return sums(sums, u, s), codegen


def _make_word_sums(kind: Any) -> Any:
    """`word_sums(w, x)`: sums of two products of bytes."""

    @inline
    def of_signed(w, x):
        return multiply_bytes(magnitudes(w), with_signs_of(load_i8x32(x), w))

    @inline
    def of_unsigned(w, x):
        return multiply_bytes(w, load_i8x32(x))

    return of_signed if takes_signed(_largest(kind)) else of_unsigned


def _make_dot_of_pair(kind: Any) -> Any:
    """`dot(pair, x)`: both vectors of a pair times a token's, added up in eight lanes."""
    word_sums = _make_word_sums(kind)

    @inline
    def in_one(pair, x):
        return _dot_more(_dot(pair[0], load_i8x32(x)), pair[1], load_i8x32(x + 32))

    @inline
    def added_as_words(pair, x):
        sums = word_sums(pair[0], x) + word_sums(pair[1], x + 32)
        return multiply_words(sums, splat_i16x16(1))

    @inline
    def added(pair, x):
        a = multiply_words(word_sums(pair[0], x), splat_i16x16(1))
        return a + multiply_words(word_sums(pair[1], x + 32), splat_i16x16(1))

    if isa.current().dot != "maddubs":
        return in_one
    return added_as_words if 4 * LARGEST_TOKEN * _largest(kind) <= 32767 else added


def _make_scales(kind: Any, paired: Paired) -> Any:
    """`scales_of(p)`: scales, and the factors of a token's sums: minima, or scales times minus the offset."""
    unpack, offset, scales = kind.unpack, -float(kind.OFFSET), paired.scales
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


def _make_blocks_step(kind: Any, paired: Paired) -> tuple[Any, Any]:
    """The step where groups are blocks of 32 columns."""
    pair_0, pair_1, pair_2, pair_3 = paired.pairs
    pick_0, pick_1, pick_2, pick_3 = PICK_FLOATS
    load, scales_of, dot = paired.load, _make_scales(kind, paired), _make_dot_of_pair(kind)
    has_sums = not takes_signed(_largest(kind))

    @inline
    def prepare(p):
        return load(p), scales_of(p)

    @inline
    def step(prepared, x, found):
        held, (scales, minima) = prepared
        factors = scales * load_f32x8(x + RECORD_SCALES)
        here = to_float(dot(pair_0(held), x)) * pick_0(factors)
        here = fma(to_float(dot(pair_1(held), x + 64)), pick_1(factors), here)
        here = fma(to_float(dot(pair_2(held), x + 128)), pick_2(factors), here)
        here = fma(to_float(dot(pair_3(held), x + 192)), pick_3(factors), here)
        if has_sums:
            here = fma(minima, load_f32x8(x + RECORD_SUM32), here)
        return found + here

    return prepare, step


def _make_add_pairs(make_add: Any) -> Any:
    """`add_pairs(held, scales, factors, x, found)`: the products of all pairs, each by `make_add(k)`."""
    add_0, add_1, add_2, add_3 = (make_add(k) for k in PAIRS)

    @inline
    def add_pairs(held, scales, factors, x, found):
        found = add_0(held, scales, factors, x, found)
        found = add_1(held, scales, factors, x + 64, found)
        found = add_2(held, scales, factors, x + 128, found)
        return add_3(held, scales, factors, x + 192, found)

    return add_pairs


def _make_words_step(kind: Any, paired: Paired) -> tuple[Any, Any]:
    """The step of groups of 16 columns whose scales are integers."""
    word_sums, load, words = _make_word_sums(kind), paired.load, paired.words
    offset = 1.0 if kind.HAS_MINIMUM else -float(kind.OFFSET)

    def make_add(k: int) -> Any:
        pair, pick = paired.pairs[k], PICK_FLOATS[k]
        pick_first, pick_second = PICK_WORDS[2 * k], PICK_WORDS[2 * k + 1]

        @inline
        def add(held, scales, factors, x, here):
            w = pair(held)
            first = multiply_words(word_sums(w[0], x), pick_first(scales))
            second = multiply_words(word_sums(w[1], x + 32), pick_second(scales))
            return fma(to_float(first + second), pick(factors), here)

        return add

    add_pairs = _make_add_pairs(make_add)

    @inline
    def prepare(p):
        scales, minima, scale, minimum = words(p)
        return load(p), scales, minima, splat_f32x8(scale), splat_f32x8(minimum * offset)

    @inline
    def step(prepared, x, found):
        held, scales, minima, scale, minimum = prepared
        x_scales = load_f32x8(x + RECORD_SCALES)
        factors = x_scales * scale
        sums = to_float(multiply_words(minima, load_i16x16(x + RECORD_SUM16)))
        here = sums * (x_scales * minimum)
        return found + add_pairs(held, scales, factors, x, here)

    return prepare, step


def _make_halves_step(kind: Any, paired: Paired) -> tuple[Any, Any]:
    """The step of groups of 16 columns whose scales are floats."""
    load, scales_of, word_sums = paired.load, _make_scales(kind, paired), _make_word_sums(kind)
    in_words, has_sums = isa.current().dot == "maddubs", not takes_signed(_largest(kind))

    @inline
    def dot(w, x):
        return multiply_words(word_sums(w, x), splat_i16x16(1)) if in_words else _dot(w, load_i8x32(x))

    def make_add(k: int) -> Any:
        pair, pick = paired.pairs[k], PICK_FLOATS[k]

        @inline
        def add(held, even, odd, x, here):
            w = pair(held)
            here = fma(to_float(dot(w[0], x)), pick(even), here)
            return fma(to_float(dot(w[1], x + 32)), pick(odd), here)

        return add

    add_pairs = _make_add_pairs(make_add)

    @inline
    def prepare(p):
        return load(p), scales_of(p)

    @inline
    def step(prepared, x, found):
        held, (scales, minima) = prepared
        x_scales = load_f32x8(x + RECORD_SCALES)
        even, odd = even_groups(scales, scales) * x_scales, odd_groups(scales, scales) * x_scales
        here = add_pairs(held, even, odd, x, zero_f32x8())
        if has_sums:
            sums = to_float(widen_to_i32(load_i16x16(x + RECORD_SUM16)))
            here = fma(even_groups(sums, sums), even_groups(minima, minima) * x_scales, here)
            here = fma(odd_groups(sums, sums), odd_groups(minima, minima) * x_scales, here)
        return found + here

    return prepare, step


def _make_step(kind: Any, paired: Paired) -> tuple[Any, Any]:
    """`prepare(p)`: what is needed of 256 weights. `step(prepared, x, found)`: found and their products."""
    if kind.GROUP == 32:
        return _make_blocks_step(kind, paired)
    return (_make_words_step if paired.words else _make_halves_step)(kind, paired)


def make_row(kind: Any) -> Any:
    """`add_row` of an integer format (`gemv.py`)."""
    paired = paired_of(kind)
    prepare, step = _make_step(kind, paired)
    prepare_all, step_of_all = _make_step(kind, in_registers(paired))
    ask_ahead, whole_units, unit_place = make_prefetch(kind), make_whole_units(kind), make_unit_place(kind)

    @inline
    def add_row(row, end, columns, tokens, n_tokens, sums, spare):
        row = whole_units(row, end, columns, spare)
        n_units = (columns + UNIT - 1) // UNIT
        if n_tokens == 1:
            # The sums of a single token need not go through memory, for which it would have to wait.
            found, x = zero_f32x8(), load_i64(tokens)
            for unit in range(n_units):
                p = unit_place(row, columns, unit)
                ask_ahead(p)
                found = step(prepare(p), x + unit * ROW_RECORD_BYTES, found)
            store(sums, found)
        else:
            for unit in range(n_units):
                p = unit_place(row, columns, unit)
                ask_ahead(p)
                prepared = prepare_all(p)
                for t in range(n_tokens):
                    at, x = sums + SUMS_BYTES * t, load_i64(tokens + 8 * t) + unit * ROW_RECORD_BYTES
                    store(at, step_of_all(prepared, x, load_f32x8(at)))

    return add_row


def make_finish(kind: Any) -> Any:
    """`finish` of an integer format (`gemv.py`)."""

    @inline
    def finish(sums, row, columns, token):
        return sum_lanes(load_f32x8(sums))

    return finish
