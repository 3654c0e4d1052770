"""The bfloat16 dot product: two products of neighbouring bfloat16 added to each float32 lane."""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ..jit import isa
from .vectors import I16, I32, call_llvm, shuffle_value


class BFloatType(ir.Type):
    """LLVM's bfloat16, which llvmlite has no type for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloatType)

    def __hash__(self) -> int:
        return hash(BFloatType)


def bfloat_dot_value(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    """Adds a[2i] * b[2i] + a[2i+1] * b[2i+1] to lane i of sums; a, b: bfloat16 in vectors of any type.

    For levels whose `bfloat` is set.
    """
    if isa.current().is_arm:
        pairs = ir.VectorType(BFloatType(), 2 * sums.type.count)
        factors = [builder.bitcast(v, pairs) for v in (a, b)]
        return call_llvm(builder, "llvm.aarch64.neon.bfdot.v4f32.v8bf16", sums.type, [sums, *factors])
    signature = ir.FunctionType(sums.type, [sums.type, a.type, b.type])
    code = ir.InlineAsm(signature, "vdpbf16ps $3, $2, $0", "=v,0,v,v", side_effect=False)
    return builder.call(code, [sums, a, b])


def bfloat_pairs_value(builder: Any, low: Any, high: Any) -> Any:
    """Float32 lanes of two vectors as bfloat16, nearest even, in the low and the high halves of int32 lanes.

    For levels of AVX-512 whose `bfloat` is set.
    """
    words = ir.VectorType(I16, 32)
    signature = ir.FunctionType(words, [low.type, high.type])
    code = ir.InlineAsm(signature, "vcvtne2ps2bf16 $1, $2, $0", "=v,v,v", side_effect=False)
    found = builder.call(code, [low, high])
    pairs = shuffle_value(builder, found, found, [i // 2 + 16 * (i % 2) for i in range(32)])
    return builder.bitcast(pairs, ir.VectorType(I32, 16))
