"""IQ3_S: 256 weights in 110 bytes, `scale * (2 a + 1) * signed entry`, a of four bits for every 32.

0        2                    66                    74            106           110
| scale  | 64 numbers of      | their ninth bits    | 256 signs   | 8 times a   |
| f16    | entries, low byte  | 8 bytes             | 32 bytes    | low, high   |
"""

from __future__ import annotations

from gguf.quants import IQ3_S

from ...simd.addresses import inline, load_half, load_i64, load_u32
from ...simd.conversions import bytes_to_words, to_float
from ...simd.lookup import select_bits
from ...simd.vectors import load_i8x32, splat_f32x8, splat_i16x32, splat_i32x8
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

magnitudes = make_weights(CodeBook(IQ3_S))


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
