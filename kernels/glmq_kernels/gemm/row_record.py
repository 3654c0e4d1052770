"""A token's *record* of 256 columns, as products in the row form want it (`ROW_RECORD_BYTES`).

    0      256 bytes          int8, in the order of the weights that meet them
    256    8 float32          scales of each 32 columns
    288    8 float32          scale times sum of each 32
    320    16 float32         scale times sum of each 16
           or 16 int16        sum of each 16, for registers of 32 bytes

The bytes are turned (`formats/unpack/turned.py`).
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..jit import isa
from ..simd.addresses import inline, load_f32, load_i16, store_f32, store_i16
from ..simd.vectors import (
    I32,
    I64,
    i8x16,
    i32x4,
    load_value,
    make_bitcast,
    store_lanes,
)

UNIT = 256
RECORD_SCALES = 256
RECORD_SUM32 = 288
RECORD_SUM16 = 320

LARGEST_TOKEN = 127
"""Magnitude of a token's int8."""

SUMS_IN_WORDS = isa.current().shuffle == "avx2"
"""Whether the sums of 16 columns are integers."""

bitcast_i32x4 = make_bitcast(i32x4)


@intrinsic
def _load_words(typing: Any, address: Any) -> Any:
    """Four int32, as far apart as a turned record's vectors, as 16 bytes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        words = ir.Constant(ir.VectorType(I32, 4), ir.Undefined)
        for j in range(4):
            word = load_value(builder, builder.add(args[0], I64(64 * j)), I32)
            words = builder.insert_element(words, word, I32(j))
        return builder.bitcast(words, i8x16.llvm)

    return i8x16(types.int64), codegen


@inline
def put_block(record, place, a, b, scale, sum_a, sum_b):
    """Write a block of 32 columns, twice 16 int8 with their sums as integers, to its place of eight."""
    at = record + 4 * place
    store_lanes(at, bitcast_i32x4(a), 64)
    store_lanes(at + 32, bitcast_i32x4(b), 64)
    store_f32(at + RECORD_SCALES, scale)
    store_f32(at + RECORD_SUM32, scale * (sum_a + sum_b))
    if SUMS_IN_WORDS:
        store_i16(at + RECORD_SUM16, sum_a)
        store_i16(at + RECORD_SUM16 + 2, sum_b)
    else:
        store_f32(at + 4 * place + RECORD_SUM16, scale * sum_a)
        store_f32(at + 4 * place + RECORD_SUM16 + 4, scale * sum_b)


@inline
def take_block(record, place):
    """Read a block: twice 16 int8, their scale, and the scale times the sum of each 16."""
    at = record + 4 * place
    scale, sums = load_f32(at + RECORD_SCALES), at + RECORD_SUM16
    a, b = _load_words(at), _load_words(at + 32)
    if SUMS_IN_WORDS:
        return a, b, scale, scale * load_i16(sums), scale * load_i16(sums + 2)
    return a, b, scale, load_f32(sums + 4 * place), load_f32(sums + 4 * place + 4)
