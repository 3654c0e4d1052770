"""Reading from small tables: 16 bytes held in a register, or longer ones in memory."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from ..jit import isa
from .vectors import I8, I16, I32, I64, call_llvm, i8x64, load_value, shuffle_value

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


def make_rank(values: Sequence[int]) -> Any:
    """`rank(v)`: which of some ascending values, 0 to 127, each byte is: the last that is not larger."""

    @intrinsic
    def rank(typing: Any, v: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            found = ir.Constant(v.llvm, [0] * v.lanes)
            for value in values[1:]:
                reached = builder.icmp_signed(">=", args[0], ir.Constant(v.llvm, [value] * v.lanes))
                found = builder.sub(found, builder.sext(reached, v.llvm))
            return found

        return v(v), codegen

    return rank


def _lookup_by_comparing(builder: Any, indices: Any, values: list[int]) -> Any:
    lanes = indices.type.count
    result = ir.Constant(indices.type, [values[0]] * lanes)
    for i, value in enumerate(values[1:], 1):
        here = builder.icmp_signed("==", indices, ir.Constant(indices.type, [i] * lanes))
        result = builder.select(here, ir.Constant(indices.type, [value] * lanes), result)
    return result


def make_word_lookup(table: Sequence[int]) -> Any:
    """`lookup(numbers)`: the 16-bit entry of a table of 64 times a power of two at each of 32 numbers.

    With AVX-512: a shuffle picks out of 64 words in two registers; of its results from all parts of the
    table the number's higher bits choose.
    """

    @intrinsic
    def lookup(typing: Any, numbers: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            kind = args[0].type
            found = []
            for first in range(0, len(table), 64):
                low, high = table[first : first + 32], table[first + 32 : first + 64]
                halves = [ir.Constant(kind, list(low)), args[0], ir.Constant(kind, list(high))]
                found.append(call_llvm(builder, "llvm.x86.avx512.vpermi2var.hi.512", kind, halves))
            bit = 64
            while len(found) > 1:
                masked = builder.and_(args[0], ir.Constant(kind, [bit] * kind.count))
                chosen = builder.icmp_unsigned("!=", masked, ir.Constant(kind, [0] * kind.count))
                found = [builder.select(chosen, b, a) for a, b in zip(found[::2], found[1::2], strict=True)]
                bit *= 2
            return found[0]

        return numbers(numbers), codegen

    return lookup


def make_bit_fields(places: Sequence[int]) -> Any:
    """`fields(v)`: byte i of each eight becomes the eight bits from bit places[i] of the eight on (VBMI)."""

    @intrinsic
    def fields(typing: Any, v: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            control = ir.Constant(v.llvm, list(places) * 8)
            return call_llvm(builder, "llvm.x86.avx512.pmultishift.qb.512", v.llvm, [control, args[0]])

        return v(v), codegen

    return fields


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


def make_gather(size: int) -> Any:
    """`gather(table, numbers)`: entries of `size` bytes, by 16-bit numbers at an address, as 64 bytes."""

    @intrinsic
    def gather(typing: Any, table: Any, numbers: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            # As floats, which go from memory to vectors without passing through a scalar register.
            element = ir.DoubleType() if size == 8 else ir.FloatType()
            vector = ir.Constant(ir.VectorType(element, 64 // size), ir.Undefined)
            for i in range(64 // size):
                number = load_value(builder, builder.add(args[1], I64(2 * i)), I16)
                offset = builder.mul(builder.zext(number, I64), I64(size))
                entry = load_value(builder, builder.add(args[0], offset), element)
                vector = builder.insert_element(vector, entry, I32(i))
            return builder.bitcast(vector, i8x64.llvm)

        return i8x64(types.int64, types.int64), codegen

    return gather


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
