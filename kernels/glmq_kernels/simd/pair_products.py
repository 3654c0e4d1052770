"""AVX2's products of integers, which add neighbours in pairs: bytes to 16 bits, 16 bits to 32.

    multiply_bytes   u0 s0 + u1 s1 | u2 s2 + u3 s3 | ...    of 32 bytes, u unsigned and s signed
    multiply_words   a0 b0 + a1 b1 | a2 b2 + a3 b3 | ...    of 16 signed words

What multiply_bytes adds must fit in 16 bits: it saturates.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from ..jit import isa
from .dot import multiply_pairs
from .vectors import call_llvm, i8x32, i16x16, i32x8


def takes_signed(largest: int) -> bool:
    """Whether weights of bytes up to `largest` are multiplied as signed bytes, without their offset.

    On AVX2 products of larger unsigned ones have no sum in 16 bits, and Arm's dot product takes signed bytes.
    """
    return isa.current().dot in ("maddubs", "sdot") and largest > 127


@intrinsic
def multiply_bytes(typing: Any, u: Any, s: Any) -> Any:
    """Sums of two neighbouring products of bytes (i16x16)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return multiply_pairs(builder, *args)

    return i16x16(i8x32, i8x32), codegen


@intrinsic
def multiply_words(typing: Any, a: Any, b: Any) -> Any:
    """Sums of two neighbouring products of words (i32x8)."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, "llvm.x86.avx2.pmadd.wd", sig.return_type.llvm, args)

    return i32x8(i16x16, i16x16), codegen


def multiply_signed_bytes(builder: Any, v: Any, s: Any) -> Any:
    """multiply_bytes of two signed factors, in LLVM's form: v's magnitudes and s with v's signs.

    s is above -128.
    """
    magnitudes = call_llvm(builder, "llvm.abs.v32i8", v.type, [v, ir.Constant(ir.IntType(1), 0)])
    return multiply_pairs(builder, magnitudes, call_llvm(builder, "llvm.x86.avx2.psign.b", v.type, [s, v]))
