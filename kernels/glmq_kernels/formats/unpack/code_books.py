"""What the formats share that store numbers of entries in a code book, and signs apart.

The code books are `gguf`'s. Where signs are stored in seven bits for eight weights, the eighth makes
their number even.

Entries are read from memory one by one. With AVX-512's shuffles of bits, and where the book is small,
they are 16-bit words of two or three bits for each weight, which a few shuffles look up 32 at a time
(`lookup.py`), spread to bytes and turn into values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...jit import isa
from ...simd.addresses import inline, to_memory
from ...simd.lookup import (
    make_bit_fields,
    make_byte_lookup,
    make_gather,
    make_table,
    make_word_lookup,
    select_bits,
)
from ...simd.vectors import I16, I64, bitcast_i8x64, load_value, make_shuffle, splat_i8x64

MOST_IN_REGISTERS = 1024
"""Entries of a code book that is looked up with shuffles."""

OFFSET = 64
"""Of formats with signs: u = 64 + the signed entry, whose magnitude is below 63."""


class CodeBook:
    """The code book of one of gguf's quantizations, its values times `scale` plus `offset`."""

    def __init__(self, quantization: Any, scale: int = 1, offset: int = 0) -> None:
        quantization.init_grid()
        entries = quantization.grid.reshape(quantization.grid_shape).astype(np.int32)
        values = [value * scale + offset for value in quantization.grid_map]
        self.entries = entries * scale + offset
        self._values = values + [-1] * (16 - len(values))
        self._per_word = entries.shape[1]
        self._bits = 2 if self._per_word == 8 else 3

    def make_table(self) -> Any:
        """`table() -> address` of the entries as bytes."""
        return make_table(self.entries.astype(np.uint8).tobytes())

    def make_words(self) -> Any:
        """`words(numbers)`: 32 entries as words."""
        places = self._bits * np.arange(self._per_word)
        known = {value: i for i, value in enumerate(self._values[: 2**self._bits])}
        codes = np.vectorize(known.__getitem__)(self.entries)
        return make_word_lookup((codes << places).sum(axis=1).tolist())

    def make_spread(self, chunk: int) -> Any:
        """`spread(words, more)`: the values of 64 weights, from number 64 * chunk on.

        words, more: of the first and, where an entry has 4 weights, the next 32 entries.
        """
        per_qword = 8 // self._per_word
        first = 8 * per_qword * chunk
        lanes = [first + per_qword * q + i % per_qword for q in range(8) for i in range(4)]
        pick = make_shuffle(lanes)
        fields = make_bit_fields(
            [16 * (i // self._per_word) + self._bits * (i % self._per_word) for i in range(8)]
        )
        values, mask = make_byte_lookup(self._values), 2**self._bits - 1

        @inline
        def spread(words, more):
            return values(fields(bitcast_i8x64(pick(words, more))) & splat_i8x64(mask))

        return spread


def make_weights(book: CodeBook) -> Any:
    """`weights(numbers)` or, of entries of four, `weights(numbers, more)`: four times 64 values.

    numbers: i16x32, of entries.
    """
    of_8 = book.entries.shape[1] == 8
    if isa.current().bit_shuffle and len(book.entries) <= MOST_IN_REGISTERS:
        return _weights_by_shuffles(book, of_8)
    return _weights_in_memory(book, of_8)


def _weights_by_shuffles(book: CodeBook, of_8: bool) -> Any:
    words = book.make_words()
    spread_0, spread_1, spread_2, spread_3 = (book.make_spread(chunk) for chunk in range(4))

    @inline
    def weights_of_4(numbers, more):
        found, others = words(numbers), words(more)
        return (
            spread_0(found, others),
            spread_1(found, others),
            spread_2(found, others),
            spread_3(found, others),
        )

    @inline
    def weights_of_8(numbers):
        found = words(numbers)
        return (
            spread_0(found, found),
            spread_1(found, found),
            spread_2(found, found),
            spread_3(found, found),
        )

    return weights_of_8 if of_8 else weights_of_4


def _weights_in_memory(book: CodeBook, of_8: bool) -> Any:
    table, gather = book.make_table(), make_gather(8 if of_8 else 4)

    @inline
    def weights_of_8(numbers):
        p = to_memory(numbers)
        return (
            gather(table(), p),
            gather(table(), p + 16),
            gather(table(), p + 32),
            gather(table(), p + 48),
        )

    @inline
    def weights_of_4(numbers, more):
        p, q = to_memory(numbers), to_memory(more)
        return (
            gather(table(), p),
            gather(table(), p + 32),
            gather(table(), q),
            gather(table(), q + 32),
        )

    return weights_of_8 if of_8 else weights_of_4


@inline
def with_signs(magnitudes, signs):
    """U of 64 magnitudes, negative where the bit of `signs` is set."""
    middle = splat_i8x64(OFFSET)
    return select_bits(signs, middle - magnitudes, middle + magnitudes)


@inline
def complete_signs(sevens):
    """Eight bytes of seven signs with their eighth."""
    parity = sevens ^ (sevens >> 4)
    parity = parity ^ (parity >> 2)
    parity = parity ^ (parity >> 1)
    return sevens | ((parity & 0x0101010101010101) << 7)


@inline
def spread_sevens(packed):
    """Two lots of 28 bits, at bit 0 and bit 32, to eight bytes of seven."""
    return (
        (packed & 0x0000007F0000007F)
        | ((packed & 0x00003F8000003F80) << 1)
        | ((packed & 0x001FC000001FC000) << 2)
        | ((packed & 0x0FE000000FE00000) << 3)
    )


@intrinsic
def load_sevens(typing: Any, address: Any) -> Any:
    """The upper seven bits of eight 16-bit words, as eight bytes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = load_value(builder, args[0], ir.VectorType(I16, 8))
        high = builder.lshr(words, ir.Constant(words.type, [9] * 8))
        return builder.bitcast(builder.trunc(high, ir.VectorType(ir.IntType(8), 8)), I64)

    return types.int64(types.int64), codegen
