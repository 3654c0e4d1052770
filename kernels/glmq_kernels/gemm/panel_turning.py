"""What turns unpacked rows into panels: rows in memory become columns in registers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..simd.vectors import I64, Vector, load_value, shuffle_value


def turned(builder: Any, address: Any, kind: Vector, stride: int) -> list[Any]:
    """Rows in memory, `stride` bytes apart and as many as a row has lanes, turned over the diagonal.

    Quarters of four lanes are loaded to where they belong, four columns of rows i, 4 + i, ... side by side,
    which costs no shuffles; then 4 x 4 lanes are turned within quarters.
    """
    firsts = range(0, kind.lanes, 4)
    quarter = ir.VectorType(kind.llvm.element, 4)

    def interleave(a: Any, b: Any, lanes: tuple[int, ...]) -> Any:
        places = [q + kind.lanes * (n // 4) + n % 4 for q in firsts for n in lanes]
        return shuffle_value(builder, a, b, places)

    def columns_of_rows(column: int, row: int) -> Any:
        parts = [
            load_value(builder, builder.add(address, I64(stride * (row + q) + 4 * column)), quarter)
            for q in firsts
        ]
        while len(parts) > 1:
            both = range(2 * parts[0].type.count)
            parts = [shuffle_value(builder, *parts[k : k + 2], both) for k in range(0, len(parts), 2)]
        return parts[0]

    out = []
    for column in firsts:
        a, b, c, d = (columns_of_rows(column, row) for row in range(4))
        ab_low, ab_high = interleave(a, b, (0, 4, 1, 5)), interleave(a, b, (2, 6, 3, 7))
        cd_low, cd_high = interleave(c, d, (0, 4, 1, 5)), interleave(c, d, (2, 6, 3, 7))
        for ab, cd in ((ab_low, cd_low), (ab_high, cd_high)):
            out += [interleave(ab, cd, (0, 1, 4, 5)), interleave(ab, cd, (2, 3, 6, 7))]
    return out


def make_turn(emit: Callable[[Any, Any, Any, Any], None]) -> Any:
    """`turn(buffer, panel, block_stride)` of a function that emits it, of a builder and these addresses."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        emit(builder, *args)
        return context.get_dummy_value()

    @intrinsic
    def turn(typing: Any, buffer: Any, panel: Any, block_stride: Any) -> Any:
        return types.none(types.int64, types.int64, types.int64), codegen

    return turn
