"""What the formats share whose blocks hold 32 weights and begin with a scale."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...simd.addresses import inline, load_half
from ...simd.conversions import half_to_float
from ...simd.vectors import (
    I16,
    I32,
    I64,
    bitcast_i8x32,
    bitcast_i8x64,
    bitcast_i16x16,
    bitcast_i16x32,
    i16x8,
    i16x16,
    i16x32,
    load_i8x16,
    load_value,
    make_constant,
    make_shuffle,
    splat_i8x32,
    splat_i8x64,
)
from .avx512_turned import make_nibble_bytes, make_scales_of_blocks, picks_bytes, turns_in_lanes
from .turned import make_turned_nibbles

each_twice_256 = make_shuffle([*range(16), *range(16)])
each_twice_512 = make_shuffle([*range(16), *range(16), *range(16, 32), *range(16, 32)])
shifts_256 = make_constant(i16x16, [0] * 8 + [4] * 8)
shifts_512 = make_constant(i16x32, ([0] * 8 + [4] * 8) * 2)


@inline
def nibbles(packed):
    """The 32 nibbles at an address of 16 bytes: the low ones, then the high ones."""
    v = load_i8x16(packed)
    return bitcast_i8x32(bitcast_i16x16(each_twice_256(v, v)) >> shifts_256()) & splat_i8x32(15)


@inline
def nibbles_of_two(packed_0, packed_1):
    """The same of two addresses, one after the other."""
    spread = each_twice_512(load_i8x16(packed_0), load_i8x16(packed_1))
    return bitcast_i8x64(bitcast_i16x32(spread) >> shifts_512()) & splat_i8x64(15)


@intrinsic
def load_8_words(typing: Any, address: Any, stride: Any) -> Any:
    """The 16-bit values at an address and seven strides on.

    Put together as two integers: inserting them one by one takes the units that shuffle, which are short.
    """

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        def four(first: int) -> Any:
            found = I64(0)
            for i in range(4):
                at = builder.add(args[0], builder.mul(args[1], I64(first + i)))
                word = builder.zext(load_value(builder, at, I16), I64)
                found = builder.or_(found, builder.shl(word, I64(16 * i)))
            return found

        both = ir.Constant(ir.VectorType(I64, 2), ir.Undefined)
        for i in range(2):
            both = builder.insert_element(both, four(4 * i), I32(i))
        return builder.bitcast(both, i16x8.llvm)

    return i16x8(types.int64, types.int64), codegen


def make_unpack(size: int, weights_of_two: Any, minimum_at: int) -> Any:
    """`unpack` of a format (see this package).

    size: bytes of a block, which begins with its float16 scale. `weights_of_two(p, q)`: u of two
    blocks. minimum_at: where the float16 minimum is, 0 for none.
    """

    @inline
    def unpack(p):
        scales = half_to_float(load_8_words(p, size))
        minima = half_to_float(load_8_words(p + minimum_at, size)) if minimum_at else scales
        weights = (
            weights_of_two(p, p + size),
            weights_of_two(p + 2 * size, p + 3 * size),
            weights_of_two(p + 4 * size, p + 5 * size),
            weights_of_two(p + 6 * size, p + 7 * size),
        )
        return weights, scales, minima

    return unpack


def make_unpack_turned(size: int, turned: Any, minimum_at: int) -> Any:
    """`unpack_turned` of a format; `turned(p)`: u of eight blocks (`turned.py`)."""
    scales_of, minima_of = _make_scales(size, 0), _make_scales(size, minimum_at)

    @inline
    def unpack_turned(p):
        scales = scales_of(p)
        return turned(p), scales, minima_of(p) if minimum_at else scales

    return unpack_turned


def make_nibbles_of_blocks(size: int, at: int, values: Any = None) -> Any:
    """`turned(p)` as of `make_turned_nibbles`, by the shuffle of bytes where the processor has that."""
    return (make_nibble_bytes if picks_bytes() else make_turned_nibbles)(size, at, values)


def _make_scales(size: int, at: int) -> Any:
    """`scales(p)`: the float16 at `at` of each of eight blocks."""
    if turns_in_lanes() and 3 * size + 4 <= 64:
        return make_scales_of_blocks(size, at)

    @inline
    def scales(p):
        return half_to_float(load_8_words(p + at, size))

    return scales


def make_unpack_block(weights: Any, minimum_at: int) -> Any:
    """`unpack_block` of a format; `weights(p)`: u of one block."""

    @inline
    def unpack_block(p):
        scale = load_half(p)
        return weights(p), scale, load_half(p + minimum_at) if minimum_at else scale

    return unpack_block
