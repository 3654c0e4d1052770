"""256 weights *paired*, as products of few tokens want them in registers of 32 bytes: two blocks abreast.

Of eight blocks of 32 columns, pair k is block k in the lower and block k + 4 in the upper half of two
vectors:

    pair k, vector j, half h, byte c     column 32 (k + 4 h) + 16 j + c

Blocks and halves of blocks are 16 bytes apart or more in most formats, so pairs are put together by loads
alone, and scales of eight blocks in order have a pair's two at the same place of their halves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...jit import isa
from ...simd.addresses import inline
from ...simd.conversions import half_to_float
from ...simd.vectors import (
    I64,
    bitcast_i8x32,
    bitcast_i16x16,
    bitcast_i32x8,
    i16x8,
    i16x16,
    i32x8,
    join_i8x16,
    load_i8x16,
    load_value,
    make_constant,
    make_shuffle,
    shuffle_value,
    splat_i8x32,
)

PAIRS = range(4)

IN_PAIRS = isa.current().shuffle == "avx2"
"""Whether the row form has weights paired; otherwise they are turned (`turned.py`)."""


@dataclass(frozen=True)
class Paired:
    """How 256 weights of a tensor type are paired.

    load(p) -> held     what several pairs are made of, or p itself
    pairs               for each k: pair(held) -> two i8x32
    scales              None, or scales(p) -> scales and minima of the eight blocks (f32x8; without minima
                        the scales stand in their place), where that is faster than what `unpack` does
    words               of formats with groups of 16: None, or words(p) -> scales and minima of the groups
                        (i16x16), and what they are multiples of (float32)
    """

    load: Callable[[Any], Any]
    pairs: tuple[Any, Any, Any, Any]
    scales: Any = None
    words: Any = None


@inline
def itself(p):
    return p


@inline
def load_two(p, q):
    """16 bytes of each of two addresses."""
    return join_i8x16(load_i8x16(p), load_i8x16(q))


def make_bits(shift: int, mask: int) -> Any:
    """`bits(v)`: bytes shifted right (left where `shift` is negative), and masked."""
    count = make_constant(i16x16, [abs(shift)] * 16)

    @inline
    def to_right(v):
        return bitcast_i8x32(bitcast_i16x16(v) >> count()) & splat_i8x32(mask)

    @inline
    def to_left(v):
        return bitcast_i8x32(bitcast_i16x16(v) << count()) & splat_i8x32(mask)

    @inline
    def as_they_are(v):
        return v & splat_i8x32(mask)

    return to_right if shift > 0 else to_left if shift < 0 else as_they_are


low_nibbles, high_nibbles = make_bits(0, 15), make_bits(4, 15)


def make_nibble_pairs(size: int, at: int, values: Any = None) -> tuple[Any, Any, Any, Any]:
    """`pairs` of blocks of `size` bytes with 16 bytes at `at`: low nibbles first, then high ones.

    values: what the weights are for nibbles, byte by byte, where they are not the nibbles.
    """

    def make(k: int) -> Any:
        nibble_pair = _make_nibble_pair(k, size, at)

        @inline
        def pair_of_values(p):
            a, b = nibble_pair(p)
            return values(a), values(b)

        return nibble_pair if values is None else pair_of_values

    return four_of(make)


def _make_nibble_pair(k: int, size: int, at: int) -> Any:
    low, high = k * size + at, (k + 4) * size + at

    @inline
    def pair(p):
        v = load_two(p + low, p + high)
        return low_nibbles(v), high_nibbles(v)

    return pair


@intrinsic
def _load_8_words(typing: Any, address: Any, stride: Any) -> Any:
    """The 16-bit values at an address and seven strides on, each out of 16 bytes where it is in its place."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = load_value(builder, args[0], i16x8.llvm)
        step = builder.sub(args[1], I64(2))
        for i in range(1, 8):
            at = builder.add(args[0], builder.mul(step, I64(i)))
            others = load_value(builder, at, i16x8.llvm)
            words = shuffle_value(builder, words, others, [8 + j if j == i else j for j in range(8)])
        return words

    return i16x8(types.int64, types.int64), codegen


def make_block_scales(size: int, minimum_at: int = 0) -> Any:
    """`scales` of blocks of `size` bytes that begin with a float16; minimum_at: 0 without minima."""

    @inline
    def scales(p):
        scales = half_to_float(_load_8_words(p, size))
        return scales, half_to_float(_load_8_words(p + minimum_at, size)) if minimum_at else scales

    return scales


def make_byte_pairs(size: int, at: int, flipped: int) -> tuple[Any, Any, Any, Any]:
    """`pairs` of blocks of `size` bytes with 32 bytes at `at`, some of whose bits are flipped."""

    def make(k: int) -> Any:
        low, high = k * size + at, (k + 4) * size + at

        @inline
        def pair(p):
            a, b = load_two(p + low, p + high), load_two(p + low + 16, p + high + 16)
            return a ^ splat_i8x32(flipped), b ^ splat_i8x32(flipped)

        return pair

    return four_of(make)


def make_five_bit_pairs(size: int, bits_at: int, at: int) -> tuple[Any, Any, Any, Any]:
    """`pairs` of blocks of `size` bytes with 16 bytes of nibbles at `at`, and 32 fifth bits at `bits_at`."""

    def make(k: int) -> Any:
        nibble_pair, low, high = _make_nibble_pair(k, size, at), k * size + bits_at, (k + 4) * size + bits_at

        @inline
        def pair(p):
            a, b = nibble_pair(p)
            bits = load_two(p + low, p + high)
            return a | sixteen_where_set(first_bits(bits, bits)), b | sixteen_where_set(last_bits(bits, bits))

        return pair

    return four_of(make)


first_bits = make_shuffle([16 * h + i // 8 for h in range(2) for i in range(16)])
last_bits = make_shuffle([16 * h + 2 + i // 8 for h in range(2) for i in range(16)])
"""Of each half's first four bytes the first two or the last two, in as many places as they have bits."""


@intrinsic
def sixteen_where_set(typing: Any, v: Any) -> Any:
    """16 where bit i of byte i is set, of every eight bytes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits = ir.Constant(v.llvm, [1 << i % 8 for i in range(v.lanes)])
        is_set = builder.icmp_unsigned("==", builder.and_(args[0], bits), bits)
        return builder.and_(builder.sext(is_set, v.llvm), ir.Constant(v.llvm, [16] * v.lanes))

    return v(v), codegen


def make_nibble_run_pairs(at: int) -> tuple[Any, Any, Any, Any]:
    """`pairs` of four runs of 32 bytes at `at`: low nibbles are a block, high ones the next."""

    def make(k: int) -> Any:
        first, nibbles = at + 32 * (k // 2), high_nibbles if k % 2 else low_nibbles

        @inline
        def pair(p):
            a, b = load_two(p + first, p + first + 64), load_two(p + first + 16, p + first + 80)
            return nibbles(a), nibbles(b)

        return pair

    return four_of(make)


def make_load_runs(at: int) -> Any:
    """`load(p)`: 64 bytes at `at`, as two vectors; both halves of these bytes hold runs of 32 weights."""

    @inline
    def load(p):
        return load_two(p + at, p + at + 32), load_two(p + at + 16, p + at + 48)

    return load


def make_two_bit_pairs() -> tuple[Any, Any, Any, Any]:
    """`pairs` of such vectors: a run is two bits higher than the one before it."""

    def make(k: int) -> Any:
        bits = make_bits(2 * k, 3)

        @inline
        def pair(held):
            return bits(held[0]), bits(held[1])

        return pair

    return four_of(make)


upper_by_four = make_constant(i32x8, [0] * 4 + [4] * 4)


@inline
def load_bit_of_each_block(p):
    """32 bytes, whose bit b is of block b, as two vectors: bit k is of pair k."""
    a, b = load_two(p, p), load_two(p + 16, p + 16)
    a, b = bitcast_i32x8(a) >> upper_by_four(), bitcast_i32x8(b) >> upper_by_four()
    return bitcast_i8x32(a), bitcast_i8x32(b)


def four_of(make: Callable[[int], Any]) -> tuple[Any, Any, Any, Any]:
    """`pairs` of a function that makes the one for k."""
    return make(0), make(1), make(2), make(3)


def paired_of(kind: Any) -> Paired:
    """How a tensor type's weights are paired; made of its `unpack` where it does not say."""
    return getattr(kind, "paired", None) or Paired(_make_load(kind), pairs_of_weights)


def in_registers(paired: Paired) -> Paired:
    """The same, but all pairs are made as they are loaded."""
    load = paired.load
    pair_0, pair_1, pair_2, pair_3 = paired.pairs

    @inline
    def load_all(p):
        held = load(p)
        return pair_0(held), pair_1(held), pair_2(held), pair_3(held)

    def make(k: int) -> Any:
        @inline
        def pair(held):
            return held[k]

        return pair

    return replace(paired, load=load_all, pairs=four_of(make))


def _make_load(kind: Any) -> Any:
    unpack = kind.unpack

    @inline
    def load(p):
        return unpack(p)[0]

    return load


def _make_pair_of_all(k: int) -> Any:
    first, second, at = k // 2, k // 2 + 2, 32 * (k % 2)
    low_halves = make_shuffle([*range(at, at + 16), *range(64 + at, 80 + at)])
    high_halves = make_shuffle([*range(at + 16, at + 32), *range(80 + at, 96 + at)])

    @inline
    def pair(weights):
        a, b = weights[first], weights[second]
        return low_halves(a, b), high_halves(a, b)

    return pair


pairs_of_weights = four_of(_make_pair_of_all)
"""`pairs` of four vectors of 64 weights in the order of the columns."""
