"""Low-bit weights turned into nibbles as they are loaded: 256 weights in 140 or 148 bytes, in no file.

`factor * multiple * value[nibble]`, with a signed byte for each group of 32 or 16 weights, and up to 16
values that a weight of the type can be (`few_values.py`).

    0                      128                    136 or 144
    | 256 nibbles, in the  | multiples of 8 or 16 | factor  |
    | row form's order     | groups, int8         | float32 |

Memory is never another machine's, so nibbles lie as the row form of this level wants them, and need no
shuffles there: each run of 64 bytes holds a turned vector (`turned.py`) in its low nibbles and the next one
in the high ones.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from ...jit import isa
from ...simd.addresses import inline, load_f32
from ...simd.conversions import bytes_to_signed_words, to_float, widen_to_i32
from ...simd.lookup import make_byte_lookup, make_rank
from ...simd.vectors import (
    bitcast_i8x32,
    bitcast_i8x64,
    bitcast_i16x16,
    bitcast_i16x32,
    i16x16,
    i16x32,
    load_i8x8,
    load_i8x16,
    load_i8x32,
    load_i8x64,
    make_constant,
    splat_f32x8,
    splat_f32x16,
    splat_i8x32,
    splat_i8x64,
    store,
)
from .avx2_turned import Avx2Turned
from .few_values import FewValues
from .turned import turn_back, turn_weights

MULTIPLES = 128
"""Where a block's multiples begin, behind its nibbles."""

IGNORES_HIGH_BITS = isa.current().shuffle in ("avx2", "avx512")
"""Whether a look-up heeds of a byte only the low nibble, as long as the highest bit is not set."""

four_256, four_512 = make_constant(i16x16, [4] * 16), make_constant(i16x32, [4] * 32)


@dataclass(frozen=True)
class NibbleUnpacking:
    """What other tensor types have as a module (see this package), under the same names.

    source: the module of the type whose weights these were. pack(weights, out): u of 256 weights, as the
    source unpacks them, to a block's nibbles.
    """

    source: Any
    GROUP: int
    OFFSET: int
    CENTER: int
    LARGEST: int
    BYTES: int
    unpack: Any
    unpack_turned: Any
    avx2_turned: Avx2Turned
    pack: Any
    unpack_block: Any = None
    FLOAT: bool = False
    HAS_MINIMUM: bool = False


def nibbles_of(source_name: str) -> NibbleUnpacking:
    """The unpacking of weights that were of a type, such as `IQ3_S`."""
    source = importlib.import_module(f".{source_name.lower()}", __package__)
    few: FewValues = source.few_values
    values, n_groups = few.values, 256 // source.GROUP
    offset = -values[0]
    lookup = make_byte_lookup([value + offset for value in values] + [0] * (16 - len(values)))
    if len(values) <= 8 and IGNORES_HIGH_BITS:
        low_256, high_256, low_512, high_512 = _as_it_is, _shifted_256, _as_it_is, _shifted_512
    else:
        low_256, high_256, low_512, high_512 = _low_256, _high_256, _low_512, _high_512

    @inline
    def half(p):
        a, b = load_i8x32(p), load_i8x32(p + 64)
        return lookup(low_256(a)), lookup(high_256(a)), lookup(low_256(b)), lookup(high_256(b))

    @inline
    def in_short_registers(p):
        return half(p) + half(p + 32)

    @inline
    def turned(p):
        a, b = load_i8x64(p), load_i8x64(p + 64)
        return lookup(low_512(a)), lookup(high_512(a)), lookup(low_512(b)), lookup(high_512(b))

    scales, words = _make_scales(n_groups), _make_words(n_groups)

    @inline
    def unpack(p):
        found = scales(p)
        return turn_back(turned(p)), found, found

    @inline
    def unpack_turned(p):
        found = scales(p)
        return turned(p), found, found

    @inline
    def scales_and_minima(p):
        found = scales(p)
        return found, found

    return NibbleUnpacking(
        source=source,
        GROUP=source.GROUP,
        OFFSET=offset,
        CENTER=offset,
        LARGEST=max(offset, values[-1]),
        BYTES=MULTIPLES + n_groups + 4,
        unpack=unpack,
        unpack_turned=unpack_turned,
        avx2_turned=Avx2Turned(in_short_registers, scales_and_minima, words if source.GROUP == 16 else None),
        pack=_make_pack(source.OFFSET, values),
    )


@inline
def _as_it_is(v):
    return v


@inline
def _shifted_256(v):
    return bitcast_i8x32(bitcast_i16x16(v) >> four_256())


@inline
def _shifted_512(v):
    return bitcast_i8x64(bitcast_i16x32(v) >> four_512())


@inline
def _low_256(v):
    return v & splat_i8x32(15)


@inline
def _high_256(v):
    return _shifted_256(v) & splat_i8x32(15)


@inline
def _low_512(v):
    return v & splat_i8x64(15)


@inline
def _high_512(v):
    return _shifted_512(v) & splat_i8x64(15)


def _make_scales(n_groups: int) -> Any:
    """`scales(p)`: of all groups, float32."""
    at = MULTIPLES + n_groups
    load_multiples, splat = (load_i8x8, splat_f32x8) if n_groups == 8 else (load_i8x16, splat_f32x16)

    @inline
    def scales(p):
        return to_float(widen_to_i32(load_multiples(p + MULTIPLES))) * splat(load_f32(p + at))

    return scales


def _make_words(n_groups: int) -> Any:
    """`words` of `Avx2Turned`, where groups have 16 weights."""
    at = MULTIPLES + n_groups

    @inline
    def words(p):
        multiples, factor = bytes_to_signed_words(load_i8x16(p + MULTIPLES)), load_f32(p + at)
        return multiples, multiples, factor, factor

    return words


def _make_pack(offset: int, values: tuple[int, ...]) -> Any:
    """`pack` of weights with an offset, which are these values."""
    number = make_rank([value + offset for value in values])

    @inline
    def put_two(out, a, b):
        store(out, a | bitcast_i8x64(bitcast_i16x32(b) << four_512()))

    @inline
    def pack(weights, out):
        a, b, c, d = turn_weights(
            (number(weights[0]), number(weights[1]), number(weights[2]), number(weights[3]))
        )
        put_two(out, a, b)
        put_two(out + 64, c, d)

    return pack
