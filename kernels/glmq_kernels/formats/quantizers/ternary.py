"""TQ1_0 and TQ2_0: blocks of 256 weights of -1, 0 or 1 times the largest magnitude.

What is stored where: `formats/unpack/tq1_0.py` and `tq2_0.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba.extending import intrinsic

from ...simd.addresses import argument, inline, store_i16, store_i64, store_u8
from ...simd.conversions import float_to_half, narrow_to_i8, zero_extend
from ...simd.vectors import (
    first_word,
    i8x32,
    i32x16,
    load_i8x16,
    load_i8x32,
    make_constant,
    make_shuffle,
    splat_f32x8,
    splat_f32x16,
    splat_i32x16,
    store,
    zero_i32x16,
)
from .arguments import QuantizeRows
from .rounding import round_half_away
from .source import float_of_bits, larger, largest_lane, load_16, magnitude_bits

BLOCK = 256
four_bytes = make_shuffle(range(4))
two, four, six = (make_constant(i8x32, [n] * 32) for n in (2, 4, 6))


@intrinsic
def _fraction_of_256(typing: Any, digits: Any) -> Any:
    """Numbers of five base-3 digits (int32 lanes, below 243) as fractions of 256, rounded up."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        factor, above, whole = (ir.Constant(i32x16.llvm, [n] * 16) for n in (256, 242, 243))
        return builder.udiv(builder.add(builder.mul(args[0], factor), above), whole)

    return i32x16(i32x16), codegen


@inline
def _codes(source, kind, block, codes):
    """Put the codes 0, 1 and 2 of a block's weights, as bytes; gives the bits of the largest magnitude."""
    largest = zero_i32x16()
    for i in range(BLOCK // 16):
        largest = larger(largest, magnitude_bits(load_16(source, kind, BLOCK * block + 16 * i)))
    scale = float_of_bits(largest_lane(largest))
    inverse = np.float32(1.0) / scale if scale != np.float32(0.0) else np.float32(0.0)
    if inverse == np.float32(np.inf):
        inverse = np.float32(0.0)
    for i in range(BLOCK // 16):
        v = load_16(source, kind, BLOCK * block + 16 * i) * splat_f32x16(inverse)
        store(codes + 16 * i, narrow_to_i8(round_half_away(v) + splat_i32x16(1)))
    return largest


@inline
def _digits(codes, distance):
    """Numbers whose five base-3 digits are `distance` bytes apart, for sixteen neighbours."""
    found = zero_i32x16()
    for i in range(5):
        found = found * splat_i32x16(3) + zero_extend(load_i8x16(codes + distance * i))
    return narrow_to_i8(_fraction_of_256(found))


@inline
def _write_tq1_0(codes, out):
    for i in range(16):  # the last four bytes have no fifth digit
        store_u8(codes + BLOCK + i, np.uint8(0))
    store(out, _digits(codes, 32))
    store(out + 16, _digits(codes + 16, 32))
    store(out + 32, _digits(codes + 160, 16))
    last = _digits(codes + 240, 4)
    store(out + 48, four_bytes(last, last))


@inline
def _write_tq2_0(codes, out):
    for i in range(2):
        run = codes + 128 * i
        packed = load_i8x32(run) | load_i8x32(run + 32) << two()
        packed = packed | load_i8x32(run + 64) << four() | load_i8x32(run + 96) << six()
        store(out + 32 * i, packed)


_KINDS = {"TQ1_0": (54, _write_tq1_0), "TQ2_0": (66, _write_tq2_0)}


def quantize(type_name: str) -> Any:
    """Kernel: weights to blocks of a type."""
    block_bytes, write = _KINDS[type_name]

    def kernel(args, thread, threads):
        source, kind = argument(args, QuantizeRows.SOURCE), argument(args, QuantizeRows.SOURCE_KIND)
        count, out = argument(args, QuantizeRows.N_WEIGHTS) // BLOCK, argument(args, QuantizeRows.OUT)
        codes = argument(args, QuantizeRows.SCRATCH)
        worst = zero_i32x16()
        for i in range(count):
            largest = _codes(source, kind, i, codes)
            worst = larger(worst, largest)
            write(codes, out + block_bytes * i)
            half = float_to_half(splat_f32x8(float_of_bits(largest_lane(largest))))
            store_i16(out + block_bytes * (i + 1) - 2, first_word(half))
        store_i64(argument(args, QuantizeRows.LARGEST), largest_lane(worst))

    return kernel
