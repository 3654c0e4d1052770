"""Float32 lanes to integers, other than to the nearest even."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from ...simd.vectors import f32x16, i32x16


@intrinsic
def truncate(typing: Any, v: Any) -> Any:
    """Float32 lanes to int32, towards zero."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.fptosi(args[0], sig.return_type.llvm)

    return i32x16(f32x16), codegen


@intrinsic
def round_half_away(typing: Any, v: Any) -> Any:
    """Float32 lanes to the nearest int32, halves away from zero."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = sig.return_type.llvm
        whole = builder.fptosi(args[0], kind)
        rest = builder.fsub(args[0], builder.sitofp(whole, v.llvm))
        up = builder.fcmp_ordered(">=", rest, ir.Constant(v.llvm, [0.5] * v.lanes))
        down = builder.fcmp_ordered("<=", rest, ir.Constant(v.llvm, [-0.5] * v.lanes))
        return builder.add(builder.add(whole, builder.zext(up, kind)), builder.sext(down, kind))

    return i32x16(f32x16), codegen
