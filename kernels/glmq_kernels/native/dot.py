"""The int8 dot product: four products of neighbouring bytes added to each int32 lane."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from .. import isa
from .simd import I16, I32, Vector, call_llvm, shuffle_value


def make_dot(wide: bool) -> Any:
    """`dot(sums, u, s)`: adds u[4i..4i+3] * s[4i..4i+3], u unsigned and s signed bytes, to lane i.

    Without `wide` no two neighbouring products may exceed 32767 in sum (as with u or s below 65),
    which plain AVX2 needs for its fast form.
    """

    @intrinsic
    def dot(typing: Any, sums: Any, u: Any, s: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return dot_value(builder, *args, wide=wide)

        return sums(sums, u, s), codegen

    return dot


def dot_value(builder: Any, sums: Any, u: Any, s: Any, wide: bool) -> Any:
    """LLVM's form of `make_dot`'s function for the instructions in use."""
    lanes = sums.type.count
    kind = isa.current().dot
    if kind == "vnni":
        name = f"llvm.x86.avx512.vpdpbusd.{lanes * 32}"
        return call_llvm(builder, name, sums.type, [sums, u, s])
    if kind == "maddubs" and not wide:
        return _in_halves(builder, _maddubs, sums, u, s)
    return _even_odd(builder, sums, u, s)


def _in_halves(builder: Any, step: Any, sums: Any, u: Any, s: Any) -> Any:
    """Apply a 256-bit step to each half of 512-bit vectors."""
    if sums.type.count == 8:
        return step(builder, sums, u, s)
    halves = []
    for half in range(2):
        parts = []
        for v in (sums, u, s):
            n = v.type.count // 2
            parts.append(shuffle_value(builder, v, v, range(half * n, half * n + n)))
        halves.append(step(builder, *parts))
    return shuffle_value(builder, *halves, range(16))


def _maddubs(builder: Any, sums: Any, u: Any, s: Any) -> Any:
    pairs = call_llvm(builder, "llvm.x86.avx2.pmadd.ub.sw", Vector("i16", 16).llvm, [u, s])
    ones = ir.Constant(pairs.type, [1] * 16)
    return builder.add(sums, call_llvm(builder, "llvm.x86.avx2.pmadd.wd", sums.type, [pairs, ones]))


def _even_odd(builder: Any, sums: Any, u: Any, s: Any) -> Any:
    """Exact for all bytes, with nothing but shifts and 16-bit products."""
    lanes = sums.type.count
    words = ir.VectorType(I16, 2 * lanes)
    eight = ir.Constant(words, [8] * (2 * lanes))
    sixteen = ir.Constant(sums.type, [16] * lanes)
    u, s = builder.bitcast(u, words), builder.bitcast(s, words)
    even = builder.mul(
        builder.and_(u, ir.Constant(words, [255] * (2 * lanes))), builder.ashr(builder.shl(s, eight), eight)
    )
    odd = builder.mul(builder.lshr(u, eight), builder.ashr(s, eight))
    for products in (even, odd):
        pair = builder.bitcast(products, ir.VectorType(I32, lanes))
        sums = builder.add(sums, builder.ashr(builder.shl(pair, sixteen), sixteen))
        sums = builder.add(sums, builder.ashr(pair, sixteen))
    return sums
