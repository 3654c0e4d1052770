"""Sixteen groups of weights side by side, one in each lane.

A search for the best scale of a group goes through its weights one after the other, and so do its sums, in
the order that the reference adds in; sixteen groups do so at once. For that their weights are turned:
vector i holds weight i of each group.
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from ...simd.addresses import copy_bytes, inline, opaque
from ...simd.conversions import ROUNDING
from ...simd.vectors import (
    I64,
    call_llvm,
    constant,
    f32x8,
    f32x16,
    load_f32x16,
    load_value,
    make_bitcast,
    make_constant,
    maximum,
    minimum,
    shuffle_value,
    store,
    store_value,
    zero_f32x16,
)
from .source import bits_of, magnitude_mask

VECTOR = 64
"""Bytes of sixteen floats."""

floats_of = make_bitcast(f32x16)
one_f32x16 = make_constant(f32x16, [1.0] * 16)


@intrinsic
def rounded(typing: Any, v: Any) -> Any:
    """Float32 lanes to the nearest whole number, ties to even. Lanes must be below 2**22 in magnitude."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        magic = constant(v, [ROUNDING] * v.lanes)
        return builder.fsub(builder.fadd(args[0], magic), magic)

    return v(v), codegen


@intrinsic
def hidden(typing: Any, count: Any) -> Any:
    """The same number, which the code generator must take for any other.

    Loops up to it are not unrolled, where that makes nothing faster but compiling much slower.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return opaque(builder, args[0])

    return types.int64(types.int64), codegen


@intrinsic
def square_root(typing: Any, v: Any) -> Any:
    """The square root of float32 lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.sqrt.v{v.lanes}f32", v.llvm, args)

    return v(v), codegen


@inline
def rounded_between(v, low, high):
    """The nearest whole numbers from `low` to `high`."""
    return rounded(minimum(maximum(v, low), high))


@inline
def magnitude(v):
    """Float32 lanes without their signs."""
    return floats_of(bits_of(v) & magnitude_mask())


@intrinsic
def _turn_8(typing: Any, source: Any, source_stride: Any, target: Any, target_stride: Any) -> Any:
    """Turn 8 x 8 floats at an address, rows `source_stride` bytes apart, to rows `target_stride` apart."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        source, source_stride, target, target_stride = args

        def place(start: Any, stride: Any, i: int) -> Any:
            return builder.add(start, builder.mul(stride, I64(i)))

        rows = [load_value(builder, place(source, source_stride, i), f32x8.llvm) for i in range(8)]
        steps = (
            (1, [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]),
            (2, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
            (4, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
        )
        for distance, low, high in steps:
            for i in range(8):
                if not i & distance:
                    a, b = rows[i], rows[i + distance]
                    rows[i] = shuffle_value(builder, a, b, low)
                    rows[i + distance] = shuffle_value(builder, a, b, high)
        for i, row in enumerate(_in_turned_order(rows)):
            store_value(builder, place(target, target_stride, i), row)
        return context.get_dummy_value()

    return types.none(*[types.int64] * 4), codegen


def _in_turned_order(rows: list[Any]) -> list[Any]:
    """The first two steps leave columns in the order 0, 2, 1, 3."""
    return [rows[i] for i in (0, 2, 1, 3, 4, 6, 5, 7)]


@inline
def turn(source, source_stride, target, target_stride, rows, columns):
    """Rows of floats at an address to columns; both numbers are multiples of 8, strides are bytes."""
    for row in range(0, hidden(rows), 8):
        for column in range(0, hidden(columns), 8):
            _turn_8(
                source + row * source_stride + 4 * column,
                source_stride,
                target + column * target_stride + 4 * row,
                target_stride,
            )


@inline
def sums_of_squares(rows, stride, columns, scratch):
    """Σx² of each of sixteen rows of floats, `stride` bytes apart; scratch: memory for sixteen vectors."""
    found = zero_f32x16()
    for first in range(0, columns, 16):
        turn(rows + 4 * first, stride, scratch, VECTOR, 16, 16)
        for i in range(0, hidden(16 * VECTOR), VECTOR):
            v = load_f32x16(scratch + i)
            found = found + v * v
    return found


@inline
def sum_of_squares(vectors, count):
    """Σx² of each lane, over `count` vectors at an address."""
    found = zero_f32x16()
    for i in range(0, hidden(VECTOR * count), VECTOR):
        v = load_f32x16(vectors + i)
        found = found + v * v
    return found


@inline
def copy_importance(importance, columns, first, block, count, target):
    """The importance of the columns of `count` blocks of so many weights, from weight `first` on."""
    for i in range(count):
        copy_bytes(target + 4 * block * i, importance + 4 * ((first + block * i) % columns), 4 * block)


@inline
def weigh(values, weights, variances, count):
    """Weights of errors by importance, q·sqrt(σ² + x²), put in its place, for `count` vectors."""
    for i in range(0, hidden(VECTOR * count), VECTOR):
        x = load_f32x16(values + i)
        store(weights + i, load_f32x16(weights + i) * square_root(variances + x * x))


@inline
def weigh_by_square(values, weights, count):
    """Weights of errors without importance: x², for `count` vectors."""
    for i in range(0, hidden(VECTOR * count), VECTOR):
        x = load_f32x16(values + i)
        store(weights + i, x * x)


@inline
def sum_of_vectors(vectors, count):
    """The sum of each lane, over `count` vectors at an address."""
    found = zero_f32x16()
    for i in range(0, hidden(VECTOR * count), VECTOR):
        found = found + load_f32x16(vectors + i)
    return found
