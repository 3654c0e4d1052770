"""The inner step of the row form: 256 weights of a row times one token, in integers.

Weights and tokens are turned (`formats/unpack/turned.py`), so that four dot products leave the sum of 16
columns in each of 16 lanes, to be scaled at once. A token's *record* of 256 columns is

    256 bytes          int8, turned
    8 float32          scales of each 32 columns
    8 float32          scale times sum of each 32
    16 float32         scale times sum of each 16
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..jit import isa
from ..simd.dot import add_pairs, dot_value, multiply_pairs
from ..simd.vectors import I64, call_llvm, i8x64, i32x16, load_value, shuffle_value

UNIT = 256
RECORD_SCALES = 256
RECORD_SUM32 = 288
RECORD_SUM16 = 320

LARGEST_TOKEN = 127
"""Magnitude of a token's int8."""


def takes_signed(largest: int) -> bool:
    """Whether weights of bytes up to `largest` are multiplied as signed bytes, without their offset."""
    return isa.current().dot == "maddubs" and largest > 127


def make_dots(largest: int) -> Any:
    """`dots(weights, record) -> i32x16`: turned weights, of bytes up to `largest`, times a token's record.

    Weights are signed where `takes_signed` says so.
    """

    @intrinsic
    def dots(typing: Any, weights: Any, record: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            vectors = [builder.extract_value(args[0], j) for j in range(4)]
            token = [load_value(builder, builder.add(args[1], I64(64 * j)), i8x64.llvm) for j in range(4)]
            if isa.current().dot == "maddubs":
                return _maddubs_sums(builder, vectors, token, largest)
            total = ir.Constant(i32x16.llvm, [0] * 16)
            for u, s in zip(vectors, token, strict=True):
                total = dot_value(builder, total, u, s, wide=largest > 127)
            return total

        return i32x16(types.UniTuple(i8x64, 4), types.int64), codegen

    return dots


def _maddubs_sums(builder: Any, weights: list[Any], token: list[Any], largest: int) -> Any:
    """On AVX2: products are added in 16 bits as long as they fit. Signs of weights go over to the token."""
    signed = takes_signed(largest)
    depth = 1 if signed else min(4, 32767 // (2 * LARGEST_TOKEN * largest))
    bytes_32, nothing = (
        ir.VectorType(ir.IntType(8), 32),
        ir.Constant(ir.VectorType(ir.IntType(32), 8), [0] * 8),
    )

    # Not left to the code generator, which would keep both weights and magnitudes over the loop of tokens.
    magnitude = ir.InlineAsm(ir.FunctionType(bytes_32, [bytes_32]), "vpabsb $1, $0", "=x,x", side_effect=True)

    def products(u: Any, s: Any) -> Any:
        if signed:
            s = call_llvm(builder, "llvm.x86.avx2.psign.b", bytes_32, [s, u])
            u = builder.call(magnitude, [u])
        return multiply_pairs(builder, u, s)

    halves = []
    for half in range(2):
        us, ss = (
            [shuffle_value(builder, v, v, range(32 * half, 32 * half + 32)) for v in vectors]
            for vectors in (weights, token)
        )
        total = nothing
        for first in range(0, 4, depth):
            pairs = products(us[first], ss[first])
            for j in range(first + 1, min(first + depth, 4)):
                pairs = builder.add(pairs, products(us[j], ss[j]))
            total = add_pairs(builder, total, pairs)
        halves.append(total)
    return shuffle_value(builder, *halves, range(16))
