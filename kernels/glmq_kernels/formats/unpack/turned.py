"""256 weights *turned*, as products of few tokens want them: 16 columns in each lane of 32 bits.

Lane 8 h + b belongs to half h of block b, 32 columns each, and vector j holds four columns of every lane:

    vector j, lane 8 h + b, byte k     column 32 b + 16 h + 4 j + k

so that four dot products, one after the other, leave the sum of 16 columns in every lane. From the order of
the columns it is a turn of 4 x 4 lanes within quarters of vectors, once the quarters lie so that a quarter
has halves of four blocks. Formats with halves that can be loaded so save part of the work.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...simd.addresses import inline
from ...simd.vectors import (
    I32,
    bitcast_i8x32,
    bitcast_i16x16,
    i16x16,
    join_i8x16,
    join_i8x32,
    load_i8x16,
    make_constant,
    make_shuffle,
    shuffle_value,
    splat_i8x32,
)

SPREAD_SCALES = {
    16: make_shuffle([2 * b + h for h in range(2) for b in range(8)]),
    32: make_shuffle([b for _ in range(2) for b in range(8)]),
}
"""Scales of groups, in order, to the lanes they belong to."""

four_bits = make_constant(i16x16, [4] * 16)


def _turn(builder: Any, vectors: list[Any]) -> list[Any]:
    """Four vectors of bytes with words changing places: vector j has word j of each, quarter by quarter."""
    kind = vectors[0].type
    lanes = kind.count // 4
    words = ir.VectorType(I32, lanes)
    quarters = range(0, lanes, 4)

    def interleave(a: Any, b: Any, order: tuple[int, ...]) -> Any:
        return shuffle_value(builder, a, b, [q + lanes * (n // 4) + n % 4 for q in quarters for n in order])

    a, b, c, d = (builder.bitcast(v, words) for v in vectors)
    ab_low, ab_high = interleave(a, b, (0, 4, 1, 5)), interleave(a, b, (2, 6, 3, 7))
    cd_low, cd_high = interleave(c, d, (0, 4, 1, 5)), interleave(c, d, (2, 6, 3, 7))
    turned = (
        interleave(ab_low, cd_low, (0, 1, 4, 5)),
        interleave(ab_low, cd_low, (2, 3, 6, 7)),
        interleave(ab_high, cd_high, (0, 1, 4, 5)),
        interleave(ab_high, cd_high, (2, 3, 6, 7)),
    )
    return [builder.bitcast(v, kind) for v in turned]


def _packed(builder: Any, vectors: list[Any]) -> Any:
    packed = ir.Constant(ir.ArrayType(vectors[0].type, 4), ir.Undefined)
    for i, value in enumerate(vectors):
        packed = builder.insert_value(packed, value, i)
    return packed


@intrinsic
def turn_weights(typing: Any, weights: Any) -> Any:
    """Four vectors of 64 weights in the order of the columns."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        w = [builder.extract_value(args[0], i) for i in range(4)]

        def halves_of_blocks(i: int) -> Any:
            first, second = 32 * (i % 2), 64 + 32 * (i % 2)
            places = [first + 16 * h + c if b == 0 else second + 16 * h + c
                      for h in range(2) for b in range(2) for c in range(16)]  # fmt: skip
            return shuffle_value(builder, w[i // 2], w[i // 2 + 2], places)

        return _packed(builder, _turn(builder, [halves_of_blocks(i) for i in range(4)]))

    return weights(weights), codegen


@intrinsic
def turn_back(typing: Any, turned: Any) -> Any:
    """The same the other way: the order of the columns again."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        halves = _turn(builder, [builder.extract_value(args[0], i) for i in range(4)])

        def weights(i: int) -> Any:
            first = 16 * (i // 2)
            places = [64 * b + 32 * h + first + c for b in range(2) for h in range(2) for c in range(16)]
            return shuffle_value(builder, halves[2 * (i % 2)], halves[2 * (i % 2) + 1], places)

        return _packed(builder, [weights(i) for i in range(4)])

    return turned(turned), codegen


@intrinsic
def turn_halves(typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """Four vectors of bytes turned: from quarters that hold 16 bytes of a block each."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _packed(builder, _turn(builder, list(args)))

    return types.UniTuple(a, 4)(a, b, c, d), codegen


def make_turned_nibbles(size: int, at: int, values: Any = None) -> Any:
    """`turned(p)` of 8 blocks of `size` bytes with 16 bytes at `at`: low nibbles first, then high ones.

    values: what u is for a nibble, lane by lane, where it is not the nibble.
    """

    @inline
    def two(p):
        return join_i8x16(load_i8x16(p + at), load_i8x16(p + 4 * size + at))

    @inline
    def split(packed):
        high = bitcast_i8x32(bitcast_i16x16(packed) >> four_bits())
        return join_i8x32(packed & splat_i8x32(15), high & splat_i8x32(15))

    @inline
    def turned(p):
        a, b, c, d = turn_halves(two(p), two(p + size), two(p + 2 * size), two(p + 3 * size))
        return split(a), split(b), split(c), split(d)

    if values is None:
        return turned

    @inline
    def turned_values(p):
        a, b, c, d = turned(p)
        return values(a), values(b), values(c), values(d)

    return turned_values


def make_turned_bytes(size: int, at: int) -> Any:
    """`turned(p)` of 8 blocks of `size` bytes with 32 bytes at `at`."""

    @inline
    def two(p):
        low = join_i8x16(load_i8x16(p + at), load_i8x16(p + 4 * size + at))
        high = join_i8x16(load_i8x16(p + at + 16), load_i8x16(p + 4 * size + at + 16))
        return join_i8x32(low, high)

    @inline
    def turned(p):
        return turn_halves(two(p), two(p + size), two(p + 2 * size), two(p + 3 * size))

    return turned
