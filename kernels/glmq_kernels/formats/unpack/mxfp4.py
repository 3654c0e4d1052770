"""MXFP4: 32 weights in 17 bytes, `2**(e - 128) * value[nibble]` (Open Compute Project, MX formats 1.0).

0    1                                17
| e  | 16 bytes: low nibbles are      |
| u8 | columns 0..15, high 16..31     |

The values are those of a float with two bits of exponent and one of mantissa, twice as large.
"""

from __future__ import annotations

from typing import Any

from gguf.quants import MXFP4
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ...simd.addresses import inline
from ...simd.lookup import make_byte_lookup
from ...simd.vectors import I8, I32, I64, f32x8, first_lane, i16x8, load_value
from .avx2_block_scales import blend_8_words
from .avx2_turned import stages_of_blocks, turned_by_stages
from .blocks_of_32 import nibbles, nibbles_of_two

FLOAT = False
GROUP = 32
OFFSET = CENTER = LARGEST = 12
HAS_MINIMUM = False
SIZE = 17
BYTES = 8 * SIZE

values = make_byte_lookup([value + OFFSET for value in MXFP4.kvalues])
"""u of each nibble."""


@intrinsic
def _load_powers(typing: Any, address: Any, stride: Any) -> Any:
    """2**(e - 128) of the exponents at an address and seven strides on, also where that is subnormal."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.VectorType(I32, 8)
        vector = ir.Constant(ir.VectorType(I8, 8), ir.Undefined)
        for i in range(8):
            at = builder.add(args[0], builder.mul(args[1], I64(i)))
            vector = builder.insert_element(vector, load_value(builder, at, I8), I32(i))
        return _powers(builder, builder.zext(vector, kind))

    return f32x8(types.int64, types.int64), codegen


def _powers(builder: Any, e: Any) -> Any:
    """2**(e - 128) of eight int32: a float's bits, those of the subnormal ones being larger than else."""

    def all_lanes(value: int) -> Any:
        return ir.Constant(e.type, [value] * 8)

    normal = builder.sub(builder.shl(e, all_lanes(23)), all_lanes(1 << 23))
    small = builder.add(builder.shl(e, all_lanes(21)), all_lanes(1 << 21))
    bits = builder.select(builder.icmp_signed(">", normal, small), normal, small)
    return builder.bitcast(bits, f32x8.llvm)


@inline
def _weights_of_two(p, q):
    return values(nibbles_of_two(p + 1, q + 1))


@inline
def unpack(p):
    scales = _load_powers(p, SIZE)
    weights = (
        _weights_of_two(p, p + SIZE),
        _weights_of_two(p + 2 * SIZE, p + 3 * SIZE),
        _weights_of_two(p + 4 * SIZE, p + 5 * SIZE),
        _weights_of_two(p + 6 * SIZE, p + 7 * SIZE),
    )
    return weights, scales, scales


@inline
def unpack_block(p):
    scale = first_lane(_load_powers(p, 0))
    return values(nibbles(p + 1)), scale, scale


@intrinsic
def _powers_of_words(typing: Any, words: Any) -> Any:
    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        low = builder.and_(args[0], ir.Constant(i16x8.llvm, [255] * 8))
        return _powers(builder, builder.zext(low, ir.VectorType(I32, 8)))

    return f32x8(i16x8), codegen


@inline
def _avx2_scales(p):
    scales = _powers_of_words(blend_8_words(p, SIZE))
    return scales, scales


avx2_turned = turned_by_stages(stages_of_blocks(SIZE, 1, values), _avx2_scales)
