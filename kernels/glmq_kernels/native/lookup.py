"""Reading from small tables: 16 bytes held in a register, or longer ones in memory."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from .. import isa
from .simd import I8, I32, I64, call_llvm, i8x64, shuffle_value

I1 = ir.IntType(1)


def make_byte_lookup(values: Sequence[int]) -> Any:
    """`lookup(indices)`: the byte of a table of 16 at each of 32 or 64 indices below 16."""

    @intrinsic
    def lookup(typing: Any, indices: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _lookup_value(builder, args[0], [value & 255 for value in values])

        return indices(indices), codegen

    return lookup


def _lookup_value(builder: Any, indices: Any, values: list[int]) -> Any:
    lanes = indices.type.count
    kind = isa.current().shuffle
    widths = {"avx512": 64, "avx2": 32, "neon": 16}
    names = {
        "avx512": "llvm.x86.avx512.pshuf.b.512",
        "avx2": "llvm.x86.avx2.pshuf.b",
        "neon": "llvm.aarch64.neon.tbl1.v16i8",
    }
    if kind not in widths:
        return _lookup_by_comparing(builder, indices, values)
    width = widths[kind] if lanes >= widths[kind] else 32
    name = names[kind] if lanes >= widths[kind] else names["avx2"]
    vector = ir.VectorType(I8, width)
    table = ir.Constant(vector, values * (width // 16))
    parts = []
    for first in range(0, lanes, width):
        part = shuffle_value(builder, indices, indices, range(first, first + width))
        parts.append(call_llvm(builder, name, vector, [table, part]))
    while len(parts) > 1:
        joined = range(2 * parts[0].type.count)
        parts = [shuffle_value(builder, a, b, joined) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _lookup_by_comparing(builder: Any, indices: Any, values: list[int]) -> Any:
    lanes = indices.type.count
    result = ir.Constant(indices.type, [values[0]] * lanes)
    for i, value in enumerate(values[1:], 1):
        here = builder.icmp_signed("==", indices, ir.Constant(indices.type, [i] * lanes))
        result = builder.select(here, ir.Constant(indices.type, [value] * lanes), result)
    return result


def make_table(data: bytes) -> Any:
    """`table() -> address` of constant bytes that become part of the kernel."""

    @intrinsic
    def table(typing: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            array = ir.Constant(ir.ArrayType(I8, len(data)), bytearray(data))
            name = f"table.{zlib.crc32(data):08x}"
            found = builder.module.globals.get(name)
            if found is None:
                found = cgutils.global_constant(builder.module, name, array)
                found.align = 64
            return builder.ptrtoint(found, I64)

        return types.int64(), codegen

    return table


@intrinsic
def join_words(typing: Any, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any, g: Any, h: Any) -> Any:
    """Eight int64 as the 64 bytes they are."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = ir.Constant(ir.VectorType(I64, 8), ir.Undefined)
        for i, value in enumerate(args):
            vector = builder.insert_element(vector, value, I32(i))
        return builder.bitcast(vector, i8x64.llvm)

    return i8x64(*[types.int64] * 8), codegen


@intrinsic
def select_bits(typing: Any, bits: Any, a: Any, b: Any) -> Any:
    """Lane i from `a` where bit i is set, from `b` elsewhere; 32 or 64 lanes."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        bits, a, b = args
        lanes = a.type.count
        if lanes < 64:
            bits = builder.trunc(bits, ir.IntType(lanes))
        return builder.select(builder.bitcast(bits, ir.VectorType(I1, lanes)), a, b)

    return a(types.int64, a, a), codegen
