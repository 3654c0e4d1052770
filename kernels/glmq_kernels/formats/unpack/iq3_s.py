"""IQ3_S: 256 weights in 110 bytes, `scale * (2 a + 1) * signed entry`, a of four bits for every 32.

0        2                    66                    74            106           110
| scale  | 64 numbers of      | their ninth bits    | 256 signs   | 8 times a   |
| f16    | entries, low byte  | 8 bytes             | 32 bytes    | low, high   |
"""

from __future__ import annotations

import numpy as np
from gguf.quants import IQ3_S

from ...simd.addresses import inline, load_half, load_i64, load_u32
from ...simd.conversions import bytes_to_words, to_float
from ...simd.lookup import select_bits
from ...simd.vectors import (
    I16,
    bitcast_i8x32,
    load_i8x32,
    make_shuffle,
    splat_f32x8,
    splat_i16x32,
    splat_i32x8,
    splat_i64x4,
)
from .avx2_code_books import PLACES_OF_8, TurnedEntries, make_mirrored, to_memory, words_of_bytes
from .avx2_turned import Avx2Turned, make_where_set
from .code_books import OFFSET as OFFSET
from .code_books import CodeBook, make_weights, with_signs
from .few_values import FewValues, make_half_factor, make_odd, with_negatives
from .iq4_xs import nibble_places

FLOAT = False
GROUP = 32
CENTER = OFFSET
LARGEST = 63
HAS_MINIMUM = False
BYTES = 110

book = CodeBook(IQ3_S)
magnitudes = make_weights(book)


@inline
def _steps(p):
    return (splat_i32x8(load_u32(p + 106)) >> nibble_places()) & splat_i32x8(15)


@inline
def _scales(p):
    a = to_float(_steps(p))
    return (a + splat_f32x8(0.5)) * splat_f32x8(2 * load_half(p))


@inline
def _numbers(p, ninth_bits):
    low = bytes_to_words(load_i8x32(p))
    return select_bits(load_u32(ninth_bits), low | splat_i16x32(256), low)


@inline
def unpack(p):
    scales = _scales(p)
    a, b, c, d = magnitudes(_numbers(p + 2, p + 66), _numbers(p + 34, p + 70))
    weights = (
        with_signs(a, load_i64(p + 74)),
        with_signs(b, load_i64(p + 82)),
        with_signs(c, load_i64(p + 90)),
        with_signs(d, load_i64(p + 98)),
    )
    return weights, scales, scales


unpack_block = None
few_values = FewValues(with_negatives(IQ3_S.grid_map), make_odd(_steps, 8), make_half_factor(0, 1.0))

# On AVX2 weights are two of four bits less 15: entries are above the middle, and their negatives below it.
entries = TurnedEntries((np.roll(book.entries, 256, axis=0) + 15) // 2, PLACES_OF_8, I16, first=256)
turned_entries, mirrored = entries.make_weights(), make_mirrored(15)
ninth_bits = make_where_set([1 << i % 8 for i in range(32)], [255] * 32)
first_blocks, last_blocks = (
    make_shuffle([b + 16 * (b % 4 // 2) for b in blocks for _ in range(8)])
    for blocks in (range(4), range(4, 8))
)


@inline
def _turned(p):
    ninth = bitcast_i8x32(splat_i64x4(load_i64(p + 66)))
    a = words_of_bytes(load_i8x32(p + 2), ninth_bits(first_blocks(ninth, ninth)))
    b = words_of_bytes(load_i8x32(p + 34), ninth_bits(last_blocks(ninth, ninth)))
    return mirrored(turned_entries(to_memory(a + b)), load_i8x32(p + 74))


@inline
def _turned_scales(p):
    scales = _scales(p) * splat_f32x8(2)
    return scales, scales


avx2_turned = Avx2Turned(_turned, _turned_scales, offset=7.5, largest=15)
