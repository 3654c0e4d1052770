"""The inner step of the row form: 256 turned weights of a row times one token, in integers.

Weights and tokens are turned (`formats/unpack/turned.py`), so that four dot products leave the sum of 16
columns in each of 16 lanes, to be scaled at once. Where weights are multiplied as signed bytes
(`takes_signed`) they are centred first, and no sums of tokens have to make up for a common offset.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..formats.unpack.turned import SPREAD_SCALES, turn_weights
from ..simd.addresses import inline, load_i64
from ..simd.conversions import to_float
from ..simd.dot import dot_value, signed_dot_value
from ..simd.pair_products import takes_signed
from ..simd.vectors import (
    I64,
    fma,
    i8x64,
    i32x16,
    load_f32x8,
    load_f32x16,
    load_value,
    splat_i8x64,
    store,
    sum_lanes,
)
from .row_record import RECORD_SCALES, RECORD_SUM16, RECORD_SUM32, UNIT
from .row_units import SUMS_BYTES, make_prefetch_unit, make_unit_place, make_whole_units, stream_ahead
from .sizes import ROW_RECORD_BYTES


def _make_dots(largest: int) -> Any:
    """`dots(weights, record) -> i32x16`: turned weights times a token's record.

    They are bytes up to `largest`, or signed where these are multiplied so.
    """
    signed = takes_signed(largest)

    @intrinsic
    def dots(typing: Any, weights: Any, record: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            total = ir.Constant(i32x16.llvm, [0] * 16)
            for j in range(4):
                u = builder.extract_value(args[0], j)
                s = load_value(builder, builder.add(args[1], I64(64 * j)), i8x64.llvm)
                if signed:
                    total = signed_dot_value(builder, total, u, s)
                else:
                    total = dot_value(builder, total, u, s, wide=largest > 127)
            return total

        return i32x16(types.UniTuple(i8x64, 4), types.int64), codegen

    return dots


def _make_unpack(kind: Any) -> Any:
    """`unpack(p)`: 256 weights turned, centred where they are multiplied as signed bytes; scales, minima."""
    unpack, center = kind.unpack, kind.CENTER

    @inline
    def unpack_and_turn(p):
        weights, scales, minima = unpack(p)
        return turn_weights(weights), scales, minima

    unpack_turned = getattr(kind, "unpack_turned", unpack_and_turn)

    @inline
    def unpack_centred(p):
        weights, scales, minima = unpack_turned(p)
        a, b, c, d = weights
        middle = splat_i8x64(center)
        return (a - middle, b - middle, c - middle, d - middle), scales, minima

    return unpack_centred if takes_signed(kind.CENTER + kind.LARGEST) else unpack_turned


def _has_sums(kind: Any) -> bool:
    """Whether sums of tokens are multiplied with minima, or with scales times a common offset."""
    return not takes_signed(kind.CENTER + kind.LARGEST)


def make_rows(kind: Any) -> Any:
    """`add_rows` of an integer format (`gemv.py`)."""
    ask_for, whole_units, unit_place = make_prefetch_unit(kind), make_whole_units(kind), make_unit_place(kind)
    unpack, by_16, with_sums = _make_unpack(kind), kind.GROUP == 16, _has_sums(kind)
    spread, dots = SPREAD_SCALES[kind.GROUP], _make_dots(kind.CENTER + kind.LARGEST)
    spread_32 = SPREAD_SCALES[32]
    load_sums, sums_at = (load_f32x16, RECORD_SUM16) if by_16 else (load_f32x8, RECORD_SUM32)

    @inline
    def add_256(weights, scales, minima, record, sums):
        x_scales, found = load_f32x8(record + RECORD_SCALES), to_float(dots(weights, record))
        if by_16:
            factors = spread(scales, scales) * spread_32(x_scales, x_scales)
        else:
            products = scales * x_scales
            factors = spread(products, products)
        store(sums, fma(found, factors, load_f32x16(sums)))
        if with_sums:
            store(sums + 64, fma(minima, load_sums(record + sums_at), load_sums(sums + 64)))

    @inline
    def add_rows(rows, streams, end, columns, tokens, n_tokens, sums, spare):
        n_streams, stream_bytes, stream_end, others = streams
        rows = whole_units(rows, end, columns, spare)
        for unit in range((columns + UNIT - 1) // UNIT):
            p, at = unit_place(rows, columns, unit), sums
            ahead = stream_ahead(p, stream_end, others)
            for _ in range(n_streams):
                ask_for(p + ahead)
                weights, scales, minima = unpack(p)
                for t in range(n_tokens):
                    record = load_i64(tokens + 8 * t) + unit * ROW_RECORD_BYTES
                    add_256(weights, scales, minima, record, at)
                    at += SUMS_BYTES
                p += stream_bytes

    return add_rows


def make_finish(kind: Any) -> Any:
    """`finish` of an integer format (`gemv.py`)."""
    load_sums = load_f32x16 if kind.GROUP == 16 else load_f32x8
    factor_of_common = 1.0 if kind.HAS_MINIMUM else -float(kind.OFFSET)
    with_sums = _has_sums(kind)

    @inline
    def finish(sums, row, columns, token):
        result = sum_lanes(load_f32x16(sums))
        if with_sums:
            result += factor_of_common * sum_lanes(load_sums(sums + 64))
        return result

    return finish
