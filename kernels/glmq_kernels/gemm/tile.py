"""The inner step of a matrix product of many tokens: one block of a panel times one tile of tokens.

A *panel* holds 16 weight rows, one row per 32-bit lane; `panels` of them lie side by side. For each
block of 32 columns an integer panel has

    8 x 64 bytes   weights, int8: vector j holds columns 4j..4j+3 of each row
    then for each group of `group` columns
    64 bytes       scale, float32 per row
    64 bytes       start, int32 per row: minus the sum of the group's weights times the level's bias
    64 bytes       minimum, float32 per row (formats with a minimum only)

A *tile* holds `tile` tokens, with a record for each block (`tile_record.py`), so that
sum_k (x_k + bias) w_k + start  is the exact integer product of x and w. AVX2 and AVX-VNNI have another form
(`avx2_tile.py`).
"""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..jit import isa
from ..simd.addresses import opaque
from ..simd.dot import Factors, sums_of_dots
from ..simd.vectors import I64, call_llvm, f32x16, i8x64, i32x16, load_value, splat_value, store_value
from .tile_record import HALF_SUMS, SCALES, SUMS


def group_bytes(has_minimum: bool) -> int:
    """Bytes of a panel for what a group's weights share."""
    return 64 * (3 if has_minimum else 2)


def panel_bytes(group: int, has_minimum: bool) -> int:
    """Bytes of a panel for one block of 32 columns."""
    return 512 + (32 // group) * group_bytes(has_minimum)


def _accumulator_type(panels: int, tile: int) -> Any:
    return types.UniTuple(f32x16, panels * tile)


def unpack(builder: Any, value: Any, count: int) -> list[Any]:
    """The vectors of a tuple."""
    return [builder.extract_value(value, i) for i in range(count)]


def pack(builder: Any, values: list[Any]) -> Any:
    """A tuple of vectors."""
    packed = ir.Constant(ir.ArrayType(values[0].type, len(values)), ir.Undefined)
    for i, value in enumerate(values):
        packed = builder.insert_value(packed, value, i)
    return packed


def _at(builder: Any, address: Any, offset: int) -> Any:
    return builder.add(address, I64(offset)) if offset else address


def make_accumulators(panels: int, tile: int, n_tokens: int) -> tuple[Any, Any, Any]:
    """`zero()`, `load(address)` and `save(address, accumulators)` of the sums of a tile's first tokens.

    In memory they lie as float32 [panel][token of the tile][16 rows].
    """
    kind = _accumulator_type(panels, n_tokens)
    places = [64 * (p * tile + t) for p in range(panels) for t in range(n_tokens)]

    @intrinsic
    def zero(typing: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return pack(builder, [ir.Constant(f32x16.llvm, [0.0] * 16)] * len(places))

        return kind(), codegen

    @intrinsic
    def load(typing: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            values = [load_value(builder, _at(builder, args[0], at), f32x16.llvm) for at in places]
            return pack(builder, values)

        return kind(types.int64), codegen

    @intrinsic
    def save(typing: Any, address: Any, accumulators: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            for at, value in zip(places, unpack(builder, args[1], len(places)), strict=True):
                store_value(builder, _at(builder, args[0], at), value)
            return context.get_dummy_value()

        return types.none(types.int64, kind), codegen

    return zero, load, save


def make_block_step(panels: int, tile: int, n_tokens: int, form: Any) -> Any:
    """`step(accumulators, panel, record)`: adds one block of 32 columns (integer panels), but no minima.

    n_tokens: of the tile, from its first on. form: the tensor type's module.
    """
    kind = _accumulator_type(panels, n_tokens)
    group, has_minimum = form.GROUP, form.HAS_MINIMUM
    size, fields_size = panel_bytes(group, has_minimum), group_bytes(has_minimum)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = unpack(builder, args[0], panels * n_tokens)

        def from_panel(panel: Any, p: int, offset: int, what: Any) -> Any:
            return load_value(builder, _at(builder, panel, p * size + offset), what.llvm)

        for g in range(32 // group):
            at = 512 + g * fields_size
            # Scales and starts are read anew for each token, as operands of instructions.
            panel_of_token = functools.cache(lambda t: opaque(builder, args[1]))

            def token(t: int, j: int, g: int = g) -> Any:
                four = _broadcast(builder, args[2], 32 * t + 4 * (g * group // 4 + j), i32x16)
                return builder.bitcast(four, i8x64.llvm)

            def weights(p: int, j: int, g: int = g) -> Any:
                return from_panel(args[1], p, 64 * (g * group // 4 + j), i8x64)

            def start(t: int, p: int, at: int = at, panel: Any = panel_of_token) -> Any:
                return from_panel(panel(t), p, at + 64, i32x16)

            def add(t: int, p: int, total: Any, at: int = at, panel: Any = panel_of_token) -> None:
                x_scale = _broadcast(builder, args[2], SCALES + 4 * t, f32x16)
                factor = builder.fmul(from_panel(panel(t), p, at, f32x16), x_scale)
                i = p * n_tokens + t
                sums[i] = _fma(builder, builder.sitofp(total, f32x16.llvm), factor, sums[i])

            factors = Factors(n_tokens, panels, group // 4, token, weights, start)
            sums_of_dots(builder, factors, add)
        return pack(builder, sums)

    @intrinsic
    def step(typing: Any, accumulators: Any, panel: Any, record: Any) -> Any:
        return kind(kind, types.int64, types.int64), codegen

    return step


def make_minimum_step(panels: int, tile: int, n_tokens: int, group: int) -> Any:
    """`step(accumulators, panel, record)`: adds the minima of one block of 32 columns."""
    kind = _accumulator_type(panels, n_tokens)
    size = panel_bytes(group, has_minimum=True)
    sums_at = SUMS if group == 32 else HALF_SUMS

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = unpack(builder, args[0], panels * n_tokens)
        per_block = 32 // group
        for g in range(per_block):
            at = 512 + g * group_bytes(has_minimum=True) + 128
            minima = [
                load_value(builder, _at(builder, args[1], p * size + at), f32x16.llvm) for p in range(panels)
            ]
            for t in range(n_tokens):
                x_sum = _broadcast(builder, args[2], sums_at + 4 * (per_block * t + g), f32x16)
                for p in range(panels):
                    sums[p * n_tokens + t] = _fma(builder, minima[p], x_sum, sums[p * n_tokens + t])
        return pack(builder, sums)

    @intrinsic
    def step(typing: Any, accumulators: Any, panel: Any, record: Any) -> Any:
        return kind(kind, types.int64, types.int64), codegen

    return step


def _broadcast(builder: Any, address: Any, offset: int, what: Any) -> Any:
    """A vector with a 32-bit value from memory in every lane."""
    return splat_value(
        builder, what, load_value(builder, _at(builder, address, offset), what.llvm.element, 4)
    )


def add_outer(
    builder: Any, accumulators: Any, vectors: list[Any], scalars: Any, count: int, stride: int = 4
) -> Any:
    """Adds each vector times each of `count` float32, `stride` bytes apart, to accumulators."""
    sums = unpack(builder, accumulators, len(vectors) * count)
    for t in range(count):
        scalar = load_value(builder, _at(builder, scalars, stride * t), ir.FloatType(), 4)
        x = splat_value(builder, f32x16, scalar)
        for p, vector in enumerate(vectors):
            sums[p * count + t] = _fma(builder, vector, x, sums[p * count + t])
    return pack(builder, sums)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    name = "llvm.fma.v16f32" if isa.current().half else "llvm.fmuladd.v16f32"
    return call_llvm(builder, name, f32x16.llvm, [a, b, c])
