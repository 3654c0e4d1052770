"""The int8 dot product: four products of neighbouring bytes added to each int32 lane.

u is unsigned, s signed. Where an instruction cannot take all values of u, or adds in 16 bits, the exact
sum is put together from two; `wide` says that u may be above 127.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from ..jit import isa
from .vectors import I8, I16, I32, call_llvm, shuffle_value


def make_dot(wide: bool) -> Any:
    """`dot(sums, u, s)`: adds u[4i..4i+3] * s[4i..4i+3] to lane i. Without `wide` u is below 128."""

    @intrinsic
    def dot(typing: Any, sums: Any, u: Any, s: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return dot_value(builder, *args, wide=wide)

        return sums(sums, u, s), codegen

    return dot


def dot_value(builder: Any, sums: Any, u: Any, s: Any, wide: bool) -> Any:
    """LLVM's form of `make_dot`'s function for the instructions in use."""
    level = isa.current()
    steps = {"vnni": _vnni, "maddubs": _maddubs, "sdot": _sdot, "generic": _even_odd}
    return in_parts(builder, level.dot_lanes, steps[level.dot], sums, u, s, wide)


def in_parts(builder: Any, lanes: int, step: Any, sums: Any, u: Any, s: Any, *more: Any) -> Any:
    """Apply `step` to parts of at most `lanes` lanes."""
    count = sums.type.count
    if count <= lanes:
        return step(builder, sums, u, s, *more)
    parts = []
    for first in range(0, count, lanes):
        part = [
            shuffle_value(
                builder, v, v, range(first * v.type.count // count, (first + lanes) * v.type.count // count)
            )
            for v in (sums, u, s)
        ]
        parts.append(step(builder, *part, *more))
    while len(parts) > 1:
        joined = range(2 * parts[0].type.count)
        parts = [shuffle_value(builder, a, b, joined) for a, b in zip(parts[::2], parts[1::2], strict=True)]
    return parts[0]


def _vnni(builder: Any, sums: Any, u: Any, s: Any, wide: bool) -> Any:
    name = f"llvm.x86.avx512.vpdpbusd.{sums.type.count * 32}"
    return call_llvm(builder, name, sums.type, [sums, u, s])


def add_products_of_pairs(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    """Adds a[2i] * b[2i] + a[2i+1] * b[2i+1] of int16 to int32 lane i. Not both may be -32768."""
    level = isa.current()
    steps = {"vnni": _vnni_of_pairs, "maddubs": _madd_of_pairs}
    return in_parts(builder, level.dot_lanes, steps.get(level.dot, _widened_pairs), sums, a, b)


def _vnni_of_pairs(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    name = f"llvm.x86.avx512.vpdpwssd.{sums.type.count * 32}"
    words = ir.VectorType(I32, sums.type.count)
    return call_llvm(builder, name, sums.type, [sums, builder.bitcast(a, words), builder.bitcast(b, words)])


def _madd_of_pairs(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    return builder.add(sums, call_llvm(builder, "llvm.x86.avx2.pmadd.wd", sums.type, [a, b]))


def _widened_pairs(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    sixteen = ir.Constant(sums.type, [16] * sums.type.count)
    a, b = builder.bitcast(a, sums.type), builder.bitcast(b, sums.type)
    sums = builder.add(sums, builder.mul(builder.ashr(a, sixteen), builder.ashr(b, sixteen)))
    low = (builder.ashr(builder.shl(v, sixteen), sixteen) for v in (a, b))
    return builder.add(sums, builder.mul(*low))


def multiply_pairs(builder: Any, u: Any, s: Any) -> Any:
    """AVX2: int16 sums of two neighbouring products of 32 bytes, saturating."""
    return call_llvm(builder, "llvm.x86.avx2.pmadd.ub.sw", ir.VectorType(I16, 16), [u, s])


def add_pairs(builder: Any, sums: Any, pairs: Any, factor: int = 1) -> Any:
    """AVX2: adds neighbouring int16, times a factor, to int32 lanes."""
    factors = ir.Constant(pairs.type, [factor] * 16)
    return builder.add(sums, call_llvm(builder, "llvm.x86.avx2.pmadd.wd", sums.type, [pairs, factors]))


def halves_of_bytes(builder: Any, v: Any) -> tuple[Any, Any]:
    """The low and the high nibble of each byte."""
    words = ir.VectorType(I16, v.type.count // 2)
    mask = ir.Constant(v.type, [15] * v.type.count)
    shifted = builder.lshr(builder.bitcast(v, words), ir.Constant(words, [4] * words.count))
    return builder.and_(v, mask), builder.and_(builder.bitcast(shifted, v.type), mask)


def _maddubs(builder: Any, sums: Any, u: Any, s: Any, wide: bool) -> Any:
    if not wide:
        return add_pairs(builder, sums, multiply_pairs(builder, u, s))
    low, high = halves_of_bytes(builder, u)
    sums = add_pairs(builder, sums, multiply_pairs(builder, low, s))
    return add_pairs(builder, sums, multiply_pairs(builder, high, s), 16)


def _sdot(builder: Any, sums: Any, u: Any, s: Any, wide: bool) -> Any:
    name = "llvm.aarch64.neon.sdot.v4i32.v16i8"
    if not wide:
        return call_llvm(builder, name, sums.type, [sums, u, s])
    centred = builder.xor(u, ir.Constant(u.type, [-128] * 16))
    half_of_offset = ir.Constant(u.type, [64] * 16)
    for factor in (centred, half_of_offset, half_of_offset):
        sums = call_llvm(builder, name, sums.type, [sums, factor, s])
    return sums


def _even_odd(builder: Any, sums: Any, u: Any, s: Any, wide: bool) -> Any:
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


@dataclass(frozen=True)
class Factors:
    """What is multiplied for a group of columns: functions that emit a vector when it is needed.

    token(t, j): bytes of token t plus the level's bias. weights(p, j): signed bytes of panel p. start(t, p):
    what the sums begin with. j counts to `count`.
    """

    n_tokens: int
    n_panels: int
    count: int
    token: Callable[[int, int], Any]
    weights: Callable[[int, int], Any]
    start: Callable[[int, int], Any]


def sums_of_dots(builder: Any, factors: Factors, done: Callable[[int, int, Any], None]) -> None:
    """Sums over j of token(t, j) . weights(p, j); done(t, p, sum) is called with each.

    With many registers a token meets all weights, which stay in them, before the next; with few all tokens
    meet the weights of one j, both factors signed. (AVX2 and AVX-VNNI: `gemm/avx2_tile.py`.)
    """
    level = isa.current()
    if level.dot == "vnni":
        _token_by_token(builder, factors, done)
    else:
        _column_by_column(builder, factors, done)


def _token_by_token(builder: Any, factors: Factors, done: Callable[[int, int, Any], None]) -> None:
    panels = range(factors.n_panels)
    weights = [[factors.weights(p, j) for p in panels] for j in range(factors.count)]
    for t in range(factors.n_tokens):
        totals = [factors.start(t, p) for p in panels]
        for j in range(factors.count):
            x = factors.token(t, j)
            for p in panels:
                totals[p] = dot_value(builder, totals[p], x, weights[j][p], wide=True)
        for p in panels:
            done(t, p, totals[p])


def _column_by_column(builder: Any, factors: Factors, done: Callable[[int, int, Any], None]) -> None:
    places = [(t, p) for t in range(factors.n_tokens) for p in range(factors.n_panels)]
    totals = {place: factors.start(*place) for place in places}
    for j in range(factors.count):
        weights = [factors.weights(p, j) for p in range(factors.n_panels)]
        for t, p in places:
            x = factors.token(t, j)
            totals[t, p] = signed_dot_value(builder, totals[t, p], x, weights[p])
    for t, p in places:
        done(t, p, totals[t, p])


def signed_dot_value(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    """The dot product where both factors are signed, for levels without a bias."""
    return in_parts(builder, isa.current().dot_lanes, _signed, sums, a, b)


def _signed(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    if isa.current().dot == "sdot":
        return call_llvm(builder, "llvm.aarch64.neon.sdot.v4i32.v16i8", sums.type, [sums, a, b])
    lanes = sums.type.count
    wide = ir.VectorType(I16, 4 * lanes)
    products = builder.mul(builder.sext(a, wide), builder.sext(b, wide))
    for first in range(4):
        quarter = shuffle_value(builder, products, products, range(first, 4 * lanes, 4))
        sums = builder.add(sums, builder.sext(quarter, sums.type))
    return sums


def sum_of_weights(builder: Any, weights: list[Any]) -> Any:
    """The sum of signed bytes in each group of four, over vectors, times the level's bias."""
    kind = ir.VectorType(I32, weights[0].type.count // 4)
    bias = isa.current().bias
    total = ir.Constant(kind, [0] * kind.count)
    if bias:
        constant = ir.Constant(ir.VectorType(I8, weights[0].type.count), [bias - 256] * weights[0].type.count)
        for w in weights:
            total = dot_value(builder, total, constant, w, wide=False)
    return total
