"""Comparisons of vectors: masks of one bit a lane, `& | ^` of which combine, and what is done by them."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, register_model

from .vectors import I32, Vector, VectorModel, call_llvm, shuffle_value

I1 = ir.IntType(1)


class Mask(Vector):
    """The Numba type of a mask: what a comparison of vectors of so many lanes gives."""

    def __init__(self, lanes: int) -> None:
        self.element = "i1"
        self.lanes = lanes
        self.llvm = ir.VectorType(I1, lanes)
        types.Type.__init__(self, name=f"mask{lanes}")


register_model(Mask)(VectorModel)


def _make_comparison(sign: str) -> Any:
    @intrinsic
    def compare(typing: Any, a: Any, b: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            compare_lanes = builder.fcmp_ordered if a.is_float else builder.icmp_signed
            return compare_lanes(sign, *args)

        return Mask(a.lanes)(a, b), codegen

    return compare


greater, at_least, not_equal = _make_comparison(">"), _make_comparison(">="), _make_comparison("!=")
"""`greater(a, b) -> mask` and so on, of floats or signed integers; False for NaN."""


@intrinsic
def select(typing: Any, mask: Any, a: Any, b: Any) -> Any:
    """Each lane from `a` where the mask is set, from `b` elsewhere."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.select(*args)

    return a(mask, a, a), codegen


@intrinsic
def any_lane(typing: Any, mask: Any) -> Any:
    """Whether a lane of a mask is set."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return call_llvm(builder, f"llvm.vector.reduce.or.v{mask.lanes}i1", I1, args)

    return types.boolean(mask), codegen


@intrinsic
def mask_bits(typing: Any, mask: Any) -> Any:
    """A mask of up to 64 lanes as an int64, lane i being bit i."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.zext(builder.bitcast(args[0], ir.IntType(mask.lanes)), ir.IntType(64))

    return types.int64(mask), codegen


@intrinsic
def least_lane(typing: Any, v: Any) -> Any:
    """The smallest lane, of int32 or float32. With NaN among floats it is any lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        found = args[0]
        while (n := found.type.count // 2) > 0:
            low, high = (shuffle_value(builder, found, found, range(i, i + n)) for i in (0, n))
            compare = builder.fcmp_ordered if v.is_float else builder.icmp_signed
            found = builder.select(compare("<", low, high), low, high)
        return builder.extract_element(found, I32(0))

    return (types.float32 if v.is_float else types.int32)(v), codegen
