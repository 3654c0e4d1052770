"""64-bit words whose bits or bytes are lanes."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .vectors import I64, call_llvm, i8x8


@intrinsic
def bytes_as_word(typing: Any, v: Any) -> Any:
    """Eight bytes as an int64, the first lowest."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], I64)

    return types.int64(i8x8), codegen


@intrinsic
def word_as_bytes(typing: Any, word: Any) -> Any:
    """An int64 as eight bytes, the lowest first."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.bitcast(args[0], i8x8.llvm)

    return i8x8(types.int64), codegen


@intrinsic
def count_bits(typing: Any, word: Any) -> Any:
    """How many bits of an int64 are set."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, "llvm.ctpop.i64", I64, args)

    return types.int64(types.int64), codegen


@intrinsic
def change_signs(typing: Any, bits: Any, v: Any) -> Any:
    """Float32 lanes, the sign of lane i changed where bit i is set."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        lanes = builder.trunc(args[0], ir.IntType(v.lanes))
        chosen = builder.bitcast(lanes, ir.VectorType(ir.IntType(1), v.lanes))
        return builder.select(chosen, builder.fneg(args[1]), args[1])

    return v(types.int64, v), codegen
