"""What was found for 256 weights, to the blocks of the grid types (drawn in `formats/unpack/`)."""

from __future__ import annotations

import numpy as np

from ...simd.addresses import inline, load_u8, load_u16, store_i16, store_i32, store_u8
from ...simd.vectors import load_i8x32, store
from .grid_scratch import CODES, NUMBERS, SIGNS, UNIT
from .grid_types import Packing
from .lanes import hidden


@inline
def _sevens(work, block):
    """The signs of the four groups of a block of 32, seven bits each, with the block's code above them."""
    packed = np.int64(load_u8(work + CODES + block)) << 28
    for i in range(hidden(4)):
        packed |= np.int64(load_u8(work + SIGNS + 4 * block + i) & 127) << (7 * i)
    return packed


@inline
def _nibbles(work, out, count):
    """Codes, two to a byte, the first in the low half."""
    for i in range(hidden(count)):
        low, high = load_u8(work + CODES + 2 * i), load_u8(work + CODES + 2 * i + 1)
        store_u8(out + i, low | (high << 4))


@inline
def _low_bytes(work, out, count):
    """The low bytes of the numbers."""
    for i in range(hidden(count)):
        store_u8(out + i, load_u8(work + NUMBERS + 2 * i))


@inline
def _high_byte(work, i):
    """The high byte of number `i`."""
    return np.int64(load_u8(work + NUMBERS + 2 * i + 1))


@inline
def _iq2_xxs(work, out):
    for block in range(hidden(8)):
        _low_bytes(work + 8 * block, out + 2 + 8 * block, 4)
        store_i32(out + 6 + 8 * block, _sevens(work, block))


@inline
def _iq2_xs(work, out):
    for i in range(hidden(32)):
        signs = np.int64(load_u8(work + SIGNS + i)) & 127
        store_i16(out + 2 + 2 * i, load_u16(work + NUMBERS + 2 * i) | (signs << 9))
    _nibbles(work, out + 66, 8)


@inline
def _iq2_s(work, out):
    _low_bytes(work, out + 2, 32)
    store(out + 34, load_i8x32(work + SIGNS))
    for i in range(hidden(8)):
        high = 0
        for j in range(hidden(4)):
            high |= _high_byte(work, 4 * i + j) << (2 * j)
        store_u8(out + 66 + i, high)
    _nibbles(work, out + 74, 8)


@inline
def _iq3_xxs(work, out):
    _low_bytes(work, out + 2, 64)
    for block in range(hidden(8)):
        store_i32(out + 66 + 4 * block, _sevens(work, block))


@inline
def _iq3_s(work, out):
    _low_bytes(work, out + 2, 64)
    for i in range(hidden(8)):
        high = 0
        for j in range(hidden(8)):
            high |= _high_byte(work, 8 * i + j) << j
        store_u8(out + 66 + i, high)
    store(out + 74, load_i8x32(work + SIGNS))
    _nibbles(work, out + 106, 4)


@inline
def _iq1_s(work, out):
    store_i16(out, load_u16(work + UNIT))
    _low_bytes(work, out + 2, 32)
    for block in range(hidden(8)):
        word = np.int64(load_u8(work + CODES + block)) << 12
        for i in range(hidden(4)):
            word |= _high_byte(work, 4 * block + i) << (3 * i)
        store_i16(out + 34 + 2 * block, word | ((np.int64(load_u8(work + SIGNS + block)) & 1) << 15))


@inline
def _iq1_m(work, out):
    _low_bytes(work, out, 32)
    for block in range(hidden(16)):
        high = _high_byte(work, 2 * block) | (_high_byte(work, 2 * block + 1) << 4)
        shifts = np.int64(load_u8(work + SIGNS + block))
        store_u8(out + 32 + block, high | ((shifts & 2) << 2) | ((shifts & 1) << 7))
    unit = load_u16(work + UNIT)
    for i in range(hidden(4)):
        word = ((unit >> (4 * i)) & 15) << 12
        for j in range(hidden(4)):
            word |= np.int64(load_u8(work + CODES + 4 * i + j)) << (3 * j)
        store_i16(out + 48 + 2 * i, word)


@inline
def pack_iq1(work, packing, out):
    """A type of shifted entries; gives the bytes of the block."""
    if packing == Packing.IQ1_S:
        _iq1_s(work, out)
        n_bytes = 50
    else:
        _iq1_m(work, out)
        n_bytes = 56
    return n_bytes


@inline
def pack_iq2(work, packing, out):
    """All but the scale of a type of entries of eight weights; gives the bytes of the block."""
    if packing == Packing.IQ2_XXS:
        _iq2_xxs(work, out)
        n_bytes = 66
    elif packing == Packing.IQ2_XS:
        _iq2_xs(work, out)
        n_bytes = 74
    else:
        _iq2_s(work, out)
        n_bytes = 82
    return n_bytes


@inline
def pack_iq3(work, packing, out):
    """All but the scale of a type of entries of four weights; gives the bytes of the block."""
    if packing == Packing.IQ3_XXS:
        _iq3_xxs(work, out)
        n_bytes = 98
    else:
        _iq3_s(work, out)
        n_bytes = 110
    return n_bytes
