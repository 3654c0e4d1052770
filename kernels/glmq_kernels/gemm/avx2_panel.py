"""Turning 16 unpacked rows (`panel.py`) into a panel for registers of 32 bytes (`avx2_tile.py`)."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from ..simd.vectors import I64, Vector, constant, f32x8, i8x32, i32x8, load_value, shuffle_value
from .avx2_tile import WeightForm, words_of_bytes
from .sizes import PANEL_BUFFER_MINIMA, PANEL_BUFFER_SCALES


def turned(builder: Any, address: Any, kind: Vector, stride: int) -> list[Any]:
    """Eight rows of 8 lanes in memory, `stride` bytes apart, as a matrix turned over its diagonal.

    Halves of rows i and 4 + i are loaded side by side; then 4 x 4 lanes are turned within these halves.
    """

    def four(column: int, row: int) -> Any:
        at = builder.add(address, I64(stride * row + 4 * column))
        half = ir.VectorType(kind.llvm.element, 4)
        low, high = (load_value(builder, builder.add(at, I64(4 * stride * i)), half) for i in range(2))
        return shuffle_value(builder, low, high, range(8))

    def interleave(a: Any, b: Any, lanes: tuple[int, ...]) -> Any:
        return shuffle_value(builder, a, b, [h + 8 * (n // 4) + n % 4 for h in (0, 4) for n in lanes])

    out = []
    for column in (0, 4):
        a, b, c, d = (four(column, row) for row in range(4))
        ab_low, ab_high = interleave(a, b, (0, 4, 1, 5)), interleave(a, b, (2, 6, 3, 7))
        cd_low, cd_high = interleave(c, d, (0, 4, 1, 5)), interleave(c, d, (2, 6, 3, 7))
        for ab, cd in ((ab_low, cd_low), (ab_high, cd_high)):
            out += [interleave(ab, cd, (0, 1, 4, 5)), interleave(ab, cd, (2, 3, 6, 7))]
    return out


def _store(builder: Any, address: Any, offset: int, vector: Any) -> None:
    at = builder.inttoptr(builder.add(address, I64(offset)), vector.type.as_pointer())
    builder.store(vector, at).align = 1


def make_turn_block(form: WeightForm) -> Any:
    """`turn(buffer, panel, block_stride)`: 32 columns of 16 rows of the buffer to the panel of a block."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        buffer, panel, _ = args
        for half in range(2):
            rows = builder.add(buffer, I64(8 * half * 256))
            for j, vector in enumerate(turned(builder, rows, i32x8, 256)):
                if form.step == "words":
                    bytes_ = builder.bitcast(vector, i8x32.llvm)
                    center = constant(i8x32, [form.center - 256 if form.center > 127 else form.center] * 32)
                    for i, words in enumerate(words_of_bytes(builder, builder.sub(bytes_, center))):
                        _store(builder, panel, 64 * (2 * j + i) + 32 * half, words)
                else:
                    _store(builder, panel, 64 * j + 32 * half, vector)
        return context.get_dummy_value()

    @intrinsic
    def turn(typing: Any, buffer: Any, panel: Any, block_stride: Any) -> Any:
        return types.none(types.int64, types.int64, types.int64), codegen

    return turn


def make_turn_block_scales(form: WeightForm) -> Any:
    """`turn(buffer, panel, block_stride)`: scales and minima of 8 blocks to their panels."""
    per_block = 32 // form.group

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        buffer, panel, stride = args

        def put(source: int, first_group: int, field: int) -> None:
            for half in range(2):
                rows = builder.add(buffer, I64(source + 8 * half * 64))
                for i, vector in enumerate(turned(builder, rows, f32x8, 64)):
                    g = first_group + i
                    block = builder.add(panel, builder.mul(stride, I64(g // per_block)))
                    place = form.weight_bytes + g % per_block * form.group_bytes
                    _store(builder, block, place + field + 32 * half, vector)

        for first in range(0, 8 * per_block, 8):
            put(PANEL_BUFFER_SCALES + 4 * first, first, 0)
            if form.has_minimum:
                minima = PANEL_BUFFER_MINIMA if form.group == 16 else PANEL_BUFFER_SCALES + 32
                put(minima + 4 * first, first, 64)
        return context.get_dummy_value()

    @intrinsic
    def turn(typing: Any, buffer: Any, panel: Any, stride: Any) -> Any:
        return types.none(types.int64, types.int64, types.int64), codegen

    return turn
