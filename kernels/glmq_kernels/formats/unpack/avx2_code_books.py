"""Weights of code books in registers of 32 bytes: entries are read to where `avx2_turned.py` wants them.

An entry of four weights is a lane of a turned vector, one of eight a lane each of two vectors, so nothing is
turned. It is read together with what lies around it in the table, from such an address that it comes to its
place, and blended in. Signs lie as they are needed: that of byte k of lane b, vector v, is bit 4 v + k of the
32 bits of block b.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ...simd.addresses import inline, opaque
from ...simd.conversions import bytes_to_words, zero_extend
from ...simd.lookup import make_table
from ...simd.vectors import (
    I8,
    I16,
    I64,
    bitcast_i8x32,
    i8x32,
    i16x8,
    i32x4,
    i32x8,
    load_i8x8,
    load_value,
    make_bitcast,
    make_constant,
    make_shuffle,
    shuffle_value,
    splat_i8x32,
    splat_i16x8,
    splat_i16x16,
    splat_i32x8,
)
from .avx2_turned import make_where_set

REGISTER = 16
"""Bytes that are read of the table for an entry."""


@intrinsic
def to_memory(typing: Any, vectors: Any) -> Any:
    """The address of several vectors on the stack, one behind the other, to read numbers one by one."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        slot = cgutils.alloca_once(builder, ir.ArrayType(vectors.dtype.llvm, vectors.count))
        for i in range(vectors.count):
            place = builder.gep(slot, [ir.Constant(I64, 0), ir.Constant(I64, i)])
            builder.store(builder.extract_value(args[0], i), place)
        return opaque(builder, builder.ptrtoint(slot, I64))

    return types.int64(vectors), codegen


class TurnedEntries:
    """Reading entries by numbers in memory.

    entries: uint8 (n, 4 or 8). lanes: where the first number of each block is, from the address of them all
    on. number: their LLVM type, bytes without a sign or words with one. first: the place in `entries` of
    number 0.
    """

    def __init__(self, entries: np.ndarray, lanes: Sequence[int], number: Any, first: int = 0) -> None:
        self._size = entries.shape[1]
        around = bytes(REGISTER - self._size)
        self._table = make_table(around + entries.astype(np.uint8).tobytes() + around)
        self._base = len(around) + self._size * first
        self._lanes = lanes
        self._number = number

    def make_weights(self) -> Any:
        """`weights(numbers)`: eight i8x32, of numbers at an address."""
        table, of_4 = self._table, self._size == 4

        @intrinsic
        def read(typing: Any, table: Any, numbers: Any) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                return context.make_tuple(
                    builder, sig.return_type, (self._turned_4 if of_4 else self._turned_8)(builder, *args)
                )

            return types.UniTuple(i8x32, 8)(types.int64, types.int64), codegen

        @inline
        def weights(numbers):
            return read(table(), numbers)

        return weights

    def _address(self, builder: Any, table: Any, numbers: Any, lane: int, i: int) -> Any:
        """Of entry i of a block."""
        at = builder.add(numbers, I64(self._lanes[lane] + self._number.width // 8 * i))
        number = load_value(builder, at, self._number)
        number = builder.zext(number, I64) if self._number == I8 else builder.sext(number, I64)
        return builder.add(builder.add(table, I64(self._base)), builder.mul(number, I64(self._size)))

    def _beside(self, builder: Any, table: Any, numbers: Any, lanes: Sequence[int], i: int) -> Any:
        """Entries i of several blocks, together 16 bytes, as i32x4."""
        words = self._size // 4
        found = None
        for k, lane in enumerate(lanes):
            at = builder.sub(self._address(builder, table, numbers, lane, i), I64(self._size * k))
            entry = load_value(builder, at, i32x4.llvm)
            places = range(4)
            found = entry if found is None else shuffle_value(
                builder, found, entry, [4 + p if p // words == k else p for p in places]
            )  # fmt: skip
        return found

    def _joined(self, builder: Any, table: Any, numbers: Any, low: Any, high: Any, i: int) -> Any:
        """Entries i of some blocks in each half of an i32x8."""
        halves = [self._beside(builder, table, numbers, lanes, i) for lanes in (low, high)]
        return shuffle_value(builder, *halves, range(8))

    def _turned_4(self, builder: Any, table: Any, numbers: Any) -> list[Any]:
        vectors = [self._joined(builder, table, numbers, range(4), range(4, 8), v) for v in range(8)]
        return [builder.bitcast(vector, i8x32.llvm) for vector in vectors]

    def _turned_8(self, builder: Any, table: Any, numbers: Any) -> list[Any]:
        vectors = []
        for i in range(4):
            a = self._joined(builder, table, numbers, (0, 1), (4, 5), i)
            b = self._joined(builder, table, numbers, (2, 3), (6, 7), i)
            for word in range(2):
                lanes = [half + n + word for half in (0, 4) for n in (0, 2, 8, 10)]
                vectors.append(builder.bitcast(shuffle_value(builder, a, b, lanes), i8x32.llvm))
        return vectors


PLACES_OF_8 = [64 * (b // 4) + 32 * (b % 2) + 16 * (b // 2 % 2) for b in range(8)]
PLACES_OF_4 = [32 * (b // 2 % 2) + 16 * (b // 4) + 8 * (b % 2) for b in range(8)]
"""Where blocks' 8 or 4 words lie that `words_of_bytes` has made, in bytes."""

low_bytes = make_shuffle([h + k for h in (0, 16) for i in range(8) for k in (i, 32 + i)])
high_bytes = make_shuffle([h + k for h in (0, 16) for i in range(8, 16) for k in (i, 32 + i)])


@inline
def words_of_bytes(low, high):
    """Words of 32 low and high bytes, as instructions of two halves put them."""
    return low_bytes(low, high), high_bytes(low, high)


signs_0, signs_1, signs_2, signs_3 = (
    make_shuffle([4 * lane + byte for lane in range(8) for _ in range(4)]) for byte in range(4)
)
EVEN, ODD = ([1 << bit + k for _ in range(8) for k in range(4)] for bit in (0, 4))


def make_mirrored(top: int) -> Any:
    """`mirrored(w, signs)`: eight vectors of bytes, top - w where signs are set; top is 2**n - 1."""
    even, odd = make_where_set(EVEN, [top] * 32), make_where_set(ODD, [top] * 32)

    @inline
    def mirrored(w, signs):
        s0, s1 = signs_0(signs, signs), signs_1(signs, signs)
        first = w[0] ^ even(s0), w[1] ^ odd(s0), w[2] ^ even(s1), w[3] ^ odd(s1)
        s2, s3 = signs_2(signs, signs), signs_3(signs, signs)
        return (*first, w[4] ^ even(s2), w[5] ^ odd(s2), w[6] ^ even(s3), w[7] ^ odd(s3))

    return mirrored


def make_with_signs(middle: int) -> Any:
    """`with_signs(w, signs)`: eight vectors of bytes, as far below the middle, 2**n, where signs are set."""
    even, odd = make_where_set(EVEN, [255] * 32), make_where_set(ODD, [255] * 32)

    @inline
    def below(w, is_set):
        return (w ^ (is_set & splat_i8x32(2 * middle - 1))) - is_set

    @inline
    def with_signs(w, signs):
        s0, s1 = signs_0(signs, signs), signs_1(signs, signs)
        first = below(w[0], even(s0)), below(w[1], odd(s0)), below(w[2], even(s1)), below(w[3], odd(s1))
        s2, s3 = signs_2(signs, signs), signs_3(signs, signs)
        return (
            *first,
            below(w[4], even(s2)),
            below(w[5], odd(s2)),
            below(w[6], even(s3)),
            below(w[7], odd(s3)),
        )

    return with_signs


one, two, three, four, six, seven, twelve = (make_constant(i32x8, [n] * 8) for n in (1, 2, 3, 4, 6, 7, 12))
bitcast_i32x8 = make_bitcast(i32x8)


@inline
def _with_eighth(words):
    """Bytes of seven signs with their eighth, which makes their number even."""
    parity = words ^ (words >> four())
    parity = parity ^ (parity >> two())
    parity = parity ^ (parity >> one())
    return bitcast_i8x32(words | ((parity & splat_i32x8(0x01010101)) << seven()))


@inline
def signs_of_28_bits(words):
    """The signs of blocks, four times seven of them in each word."""
    a = words & splat_i32x8(0x7F)
    b = (words & splat_i32x8(0x3F80)) << one()
    c = (words & splat_i32x8(0x1FC000)) << two()
    return _with_eighth(a | b | c | ((words & splat_i32x8(0xFE00000)) << three()))


@inline
def signs_of_upper_sevens(p):
    """The signs of blocks, of each eight weights seven on top of a word of 16 bits."""
    return _with_eighth(bitcast_i32x8(_upper_sevens(p)))


@inline
def two_bits_of_each(bytes_):
    """Eight bytes as 32 of two bits."""
    words = zero_extend(bytes_)
    words = words | (words << twelve())
    return bitcast_i8x32((words | (words << six())) & splat_i32x8(0x03030303))


@intrinsic
def _upper_sevens(typing: Any, address: Any) -> Any:
    """The upper seven bits of 32 words of 16 bits."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = load_value(builder, args[0], ir.VectorType(I16, 32))
        high = builder.lshr(words, ir.Constant(words.type, [9] * 32))
        return builder.trunc(high, i8x32.llvm)

    return i8x32(types.int64), codegen


alternating = make_shuffle([8 * (i % 2) + i // 2 for i in range(16)])
four_of_words = make_constant(i16x8, [4] * 8)


@inline
def odd_steps(p):
    """2 a + 1, where a are the 16 nibbles of the eight bytes at p, low ones first (i16x16)."""
    both = bytes_to_words(load_i8x8(p))
    a = alternating(both & splat_i16x8(15), both >> four_of_words())
    return a + a + splat_i16x16(1)
