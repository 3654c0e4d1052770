"""TQ1_0: 256 weights of -1, 0 or 1 times a scale in 54 bytes, `scale * (u - 1)`, five to a byte.

    0                    32                   48              52      54
    | 32 bytes:          | 16 bytes:          | 4 bytes:      | scale |
    | 5 runs of 32       | 5 runs of 16       | 4 runs of 4   | f16   |

A byte holds base-3 digits as a fraction of 256: run n's digit is the whole part of 3 x after x has been
multiplied n times by 3, each time dropping whole parts.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.extending import intrinsic

from ...simd.addresses import inline, load_half, load_u32
from ...simd.vectors import I16, i8x64, join_i8x16, join_i8x32, load_i8x16, splat_f32x8, splat_i32x4
from ...simd.vectors import bitcast_i8x16 as bytes_of
from .runs_of_32 import load_twice

FLOAT = False
GROUP = 32
OFFSET = CENTER = LARGEST = 1
HAS_MINIMUM = False
BYTES = 54


def _make_digits(factors: list[int]) -> Any:
    @intrinsic
    def digits(typing: Any, v: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            words = ir.VectorType(I16, 64)
            x = builder.mul(builder.zext(args[0], words), ir.Constant(words, factors))
            x = builder.and_(x, ir.Constant(words, [255] * 64))
            x = builder.mul(x, ir.Constant(words, [3] * 64))
            return builder.trunc(builder.lshr(x, ir.Constant(words, [8] * 64)), i8x64.llvm)

        return i8x64(i8x64), codegen

    return digits


runs_0_1, runs_2_3 = _make_digits([1] * 32 + [3] * 32), _make_digits([9] * 32 + [27] * 32)
run_4_and_short = _make_digits([81] * 32 + [1] * 16 + [3] * 16)
short_and_rest = _make_digits([9] * 16 + [27] * 16 + [81] * 16 + [1] * 4 + [3] * 4 + [9] * 4 + [27] * 4)


@inline
def unpack(p):
    scales = splat_f32x8(load_half(p + 52))
    long, short = load_twice(p), load_i8x16(p + 32)
    rest = bytes_of(splat_i32x4(load_u32(p + 48)))
    first = load_i8x16(p), load_i8x16(p + 16)
    weights = (
        runs_0_1(long),
        runs_2_3(long),
        run_4_and_short(join_i8x32(join_i8x16(first[0], first[1]), join_i8x16(short, short))),
        short_and_rest(join_i8x32(join_i8x16(short, short), join_i8x16(short, rest))),
    )
    return weights, scales, scales


unpack_block = None
