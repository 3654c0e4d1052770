"""Scale of sixteen groups of weights whose codes are places in the code book of IQ4_NL and IQ4_XS.

The search is llama.cpp's (`quantize_row_iq4_nl_impl` in ggml-quants.c).
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from gguf.quants import IQ4_NL
from llvmlite import ir
from numba.extending import intrinsic

from ...simd.addresses import inline
from ...simd.comparisons import greater, select
from ...simd.vectors import Vector, constant, divide, load_f32x16, splat_f32x16, zero_f32x16
from .lanes import VECTOR, hidden
from .symmetric_fit import largest_weight

BOOK = tuple(int(value) for value in IQ4_NL.kvalues)
LOWEST = BOOK[0]
STEPS = 7
"""As many steps are tried on either side of the middle one."""


def _nearest(builder: Any, v: Any, lanes: int, results: list[Any]) -> Any:
    """For each lane the result that belongs to the nearest value of the book, of two the higher.

    A tree of comparisons with the middles between values, the highest first.
    """
    middles = [(a + b) / 2 for a, b in pairwise(BOOK)]
    kind = Vector("f32", lanes)
    is_above: list[Any] = []

    def chosen(options: list[Any]) -> Any:
        for mask in reversed(is_above):
            pairs = zip(options[::2], options[1::2], strict=True)
            options = [builder.select(mask, high, low) for low, high in pairs]
        return options[0]

    for half in (8, 4, 2, 1):
        borders = [constant(kind, [middles[i]] * lanes) for i in range(half - 1, 15, 2 * half)]
        is_above.append(builder.fcmp_ordered(">=", v, chosen(borders)))
    return chosen(results)


@intrinsic
def nearest_value(typing: Any, v: Any) -> Any:
    """The value of the book that is nearest to each float32 lane, as float32."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _nearest(builder, args[0], v.lanes, [constant(v, [value] * v.lanes) for value in BOOK])

    return v(v), codegen


@intrinsic
def nearest_place(typing: Any, v: Any) -> Any:
    """The place in the book of the value that is nearest to each float32 lane, as int32."""
    kind = Vector("i32", v.lanes)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        places = [ir.Constant(kind.llvm, [i] * v.lanes) for i in range(len(BOOK))]
        return _nearest(builder, args[0], v.lanes, places)

    return kind(v), codegen


@inline
def fit_code_book(values, weights, count):
    """The best scale of sixteen groups, of sixteen tried.

    values, weights: addresses of `count` vectors, a lane for each group.
    """
    zero, end = zero_f32x16(), np.float32(LOWEST)
    extreme, is_nothing = largest_weight(values, count)
    scale, best = zero, zero
    for i in range(hidden(2 * STEPS + 2)):
        if i == 0:
            trial = divide(splat_f32x16(1.0), divide(extreme, splat_f32x16(-end)))
        else:
            trial = divide(splat_f32x16(np.float32(i - 1 - STEPS) + end), extreme)
        sum_qx, sum_q2 = zero, zero
        for j in range(0, hidden(VECTOR * count), VECTOR):
            x = load_f32x16(values + j)
            q = nearest_value(trial * x)
            weighted = load_f32x16(weights + j) * q
            sum_qx = sum_qx + weighted * x
            sum_q2 = sum_q2 + weighted * q
        is_better = greater(sum_q2, zero) & greater(sum_qx * sum_qx, best * sum_q2)
        scale = select(is_better, divide(sum_qx, sum_q2), scale)
        best = select(is_better, scale * sum_qx, best)
    return select(is_nothing, zero, scale)
