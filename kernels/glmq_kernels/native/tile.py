"""The inner step of a matrix product of many tokens: one block of a panel times one tile of tokens.

A *panel* holds 16 weight rows, one row per 32-bit lane; `panels` of them lie side by side. For each
block of 32 columns an integer panel has

    8 x 64 bytes   weights, int8: vector j holds columns 4j..4j+3 of each row
    then for each group of `group` columns
    64 bytes       scale, float32 per row
    64 bytes       start, int32 per row: -128 times the sum of the group's weights
    64 bytes       minimum, float32 per row (formats with a minimum only)

A *tile* holds `tile` tokens. Its record for a block of 32 columns is

    tile x 32      bytes, uint8: the activation plus 128
    tile x 4       float32 scale of the block
    tile x 8       float32 scale times sum, of each half block

so that  sum_k (x_k + 128) w_k + start  is the exact integer product of x and w.
A float panel is float32 [column][16 rows], a float tile float32 [column][tile tokens].
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from .. import isa
from .dot import dot_value
from .simd import I64, call_llvm, f32x16, i8x64, i32x16, load_value, splat_value


def panel_bytes(group: int, has_minimum: bool) -> int:
    """Bytes of a panel for one block of 32 columns."""
    return 512 + (32 // group) * 64 * (3 if has_minimum else 2)


def _accumulator_type(panels: int, tile: int) -> Any:
    return types.UniTuple(f32x16, panels * tile)


def _unpack(builder: Any, value: Any, count: int) -> list[Any]:
    return [builder.extract_value(value, i) for i in range(count)]


def _pack(builder: Any, values: list[Any]) -> Any:
    packed = ir.Constant(ir.ArrayType(f32x16.llvm, len(values)), ir.Undefined)
    for i, value in enumerate(values):
        packed = builder.insert_value(packed, value, i)
    return packed


def _at(builder: Any, address: Any, offset: int) -> Any:
    return builder.add(address, I64(offset)) if offset else address


def make_accumulators(panels: int, tile: int) -> tuple[Any, Any, Any]:
    """`zero()`, `load(address)` and `save(address, accumulators)` of a tile's sums.

    In memory they lie as float32 [panel][token][16 rows].
    """
    kind = _accumulator_type(panels, tile)
    count = panels * tile

    @intrinsic
    def zero(typing: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return _pack(builder, [ir.Constant(f32x16.llvm, [0.0] * 16)] * count)

        return kind(), codegen

    @intrinsic
    def load(typing: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            values = [load_value(builder, _at(builder, args[0], 64 * i), f32x16.llvm) for i in range(count)]
            return _pack(builder, values)

        return kind(types.int64), codegen

    @intrinsic
    def save(typing: Any, address: Any, accumulators: Any) -> Any:
        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            for i, value in enumerate(_unpack(builder, args[1], count)):
                address = _at(builder, args[0], 64 * i)
                builder.store(value, builder.inttoptr(address, f32x16.llvm.as_pointer())).align = 1
            return context.get_dummy_value()

        return types.none(types.int64, kind), codegen

    return zero, load, save


def make_block_step(panels: int, tile: int, group: int, has_minimum: bool, wide: bool) -> Any:
    """`step(accumulators, panel, record)`: adds one block of 32 columns (integer panels)."""
    kind = _accumulator_type(panels, tile)
    size = panel_bytes(group, has_minimum)
    group_bytes = 64 * (3 if has_minimum else 2)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums = _unpack(builder, args[0], panels * tile)

        def from_panel(p: int, offset: int, what: Any) -> Any:
            return load_value(builder, _at(builder, args[1], p * size + offset), what.llvm)

        def broadcast(offset: int, what: Any) -> Any:
            scalar = load_value(builder, _at(builder, args[2], offset), what.llvm.element, 4)
            return splat_value(builder, what, scalar)

        for g in range(32 // group):
            first, last = g * group // 4, (g + 1) * group // 4
            weights = [[from_panel(p, 64 * j, i8x64) for j in range(first, last)] for p in range(panels)]
            kinds = (f32x16, i32x16, f32x16)[: group_bytes // 64]
            fields = [
                [from_panel(p, 512 + g * group_bytes + 64 * i, kind) for i, kind in enumerate(kinds)]
                for p in range(panels)
            ]
            for t in range(tile):
                totals = [fields[p][1] for p in range(panels)]
                for j in range(first, last):
                    x = builder.bitcast(broadcast(32 * t + 4 * j, i32x16), i8x64.llvm)
                    for p in range(panels):
                        totals[p] = dot_value(builder, totals[p], x, weights[p][j - first], wide)
                scale = broadcast(32 * tile + 4 * t, f32x16)
                for p in range(panels):
                    i = p * tile + t
                    factor = builder.fmul(fields[p][0], scale)
                    total = builder.sitofp(totals[p], f32x16.llvm)
                    sums[i] = _fma(builder, total, factor, sums[i])
                    if has_minimum:
                        first_half, last_half = g * group // 16, (g + 1) * group // 16
                        halves = [
                            broadcast(36 * tile + 8 * t + 4 * h, f32x16) for h in range(first_half, last_half)
                        ]
                        total_x = builder.fadd(*halves) if len(halves) == 2 else halves[0]
                        sums[i] = _fma(builder, fields[p][2], total_x, sums[i])
        return _pack(builder, sums)

    @intrinsic
    def step(typing: Any, accumulators: Any, panel: Any, record: Any) -> Any:
        return kind(kind, types.int64, types.int64), codegen

    return step


def make_float_step(panels: int, tile: int) -> Any:
    """`step(accumulators, panel, tile)`: adds one column (float panels).

    panel: address of the column's rows, those of further panels behind the first's.
    """
    kind = _accumulator_type(panels, tile)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        weights = [load_value(builder, _at(builder, args[1], 64 * p), f32x16.llvm) for p in range(panels)]
        return _outer(builder, args[0], weights, args[2], tile)

    @intrinsic
    def step(typing: Any, accumulators: Any, panel: Any, column: Any) -> Any:
        return kind(kind, types.int64, types.int64), codegen

    return step


def make_outer_step(count: int) -> Any:
    """`step(accumulators, vector, scalars)`: adds vector * scalar i to accumulator i.

    scalars: address of `count` float32.
    """
    kind = _accumulator_type(1, count)

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _outer(builder, args[0], [args[1]], args[2], count)

    @intrinsic
    def step(typing: Any, accumulators: Any, vector: Any, scalars: Any) -> Any:
        return kind(kind, f32x16, types.int64), codegen

    return step


def _outer(builder: Any, accumulators: Any, vectors: list[Any], scalars: Any, count: int) -> Any:
    sums = _unpack(builder, accumulators, len(vectors) * count)
    for t in range(count):
        scalar = load_value(builder, _at(builder, scalars, 4 * t), ir.FloatType(), 4)
        x = splat_value(builder, f32x16, scalar)
        for p, vector in enumerate(vectors):
            sums[p * count + t] = _fma(builder, vector, x, sums[p * count + t])
    return _pack(builder, sums)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    name = "llvm.fma.v16f32" if isa.current().half else "llvm.fmuladd.v16f32"
    return call_llvm(builder, name, f32x16.llvm, [a, b, c])
