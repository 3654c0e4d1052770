"""What the formats share that store numbers of entries in a code book, and signs apart.

The code books are `gguf`'s. Where signs are stored in seven bits for eight weights, the eighth makes
their number even.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..lookup import join_words, make_table, select_bits
from ..memory import inline, load_i64, load_u8, load_u32
from ..simd import I16, I64, load_value, splat_i8x64

OFFSET = 64
"""Of formats with signs: u = 64 + the signed entry, whose magnitude is below 63."""


def code_book(quantization: Any, scale: int = 1, offset: int = 0) -> Any:
    """`table() -> address` of the entries of one of gguf's quantizations, times scale plus offset."""
    quantization.init_grid()
    entries = quantization.grid.reshape(quantization.grid_shape).astype(np.int32)
    return make_table((entries * scale + offset).astype(np.uint8).tobytes())


def make_entry_of_8(table: Any) -> Any:
    """`entry(number)`: an entry of eight bytes."""

    @inline
    def entry(number):
        return load_i64(table() + 8 * number)

    return entry


def make_two_entries_of_4(table: Any) -> Any:
    """`entries(a, b)`: two entries of four bytes."""

    @inline
    def entries(a, b):
        return load_u32(table() + 4 * a) | (load_u32(table() + 4 * b) << 32)

    return entries


def make_entries_by_bytes(entry: Any) -> Any:
    """`entries(p)`: the eight entries whose numbers are the eight bytes at p."""

    @inline
    def entries(p):
        return join_words(
            entry(load_u8(p)),
            entry(load_u8(p + 1)),
            entry(load_u8(p + 2)),
            entry(load_u8(p + 3)),
            entry(load_u8(p + 4)),
            entry(load_u8(p + 5)),
            entry(load_u8(p + 6)),
            entry(load_u8(p + 7)),
        )

    return entries


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
