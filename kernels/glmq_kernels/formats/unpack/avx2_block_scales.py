"""Scales of eight blocks of 32 weights, each at the same place of its block, for products with AVX2."""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from ...simd.addresses import inline
from ...simd.conversions import half_to_float
from ...simd.vectors import I64, i16x8, load_value, shuffle_value


@intrinsic
def blend_8_words(typing: Any, address: Any, stride: Any) -> Any:
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
        scales = half_to_float(blend_8_words(p, size))
        return scales, half_to_float(blend_8_words(p + minimum_at, size)) if minimum_at else scales

    return scales
