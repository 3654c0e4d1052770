"""Panels of bfloat16 for AMX (`amx_product.py`): rows of weights turned, so that columns meet tokens.

For each block of 32 columns of 16 rows a panel has 16 x 64 bytes: of columns 2k and 2k + 1 the weights of
each row, side by side. Two panels lie block by block. Rows of an integer format are unpacked into a buffer
(`panel.py`) and turned as bytes; a lane then has four columns of its row, and the scale of its row stands in
the same lane. A weight u is put among the binary digits of a power of two, where it is a float without any
conversion: (power + u) * scale + (start - power * scale), with an error far below the rounding to bfloat16
that follows.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ..simd.addresses import copy_bytes, inline, zero_bytes
from ..simd.bfloat_dot import bfloat_pairs_value
from ..simd.tile_registers import TILE_BYTES, TILE_ROWS
from ..simd.vectors import (
    I64,
    call_llvm,
    constant,
    f32x16,
    i32x16,
    load_i8x64,
    load_value,
    store,
    store_value,
)
from .panel import make_unpack_to_buffer
from .panel_turning import make_turn, turned
from .sizes import AMX_FIELDS_BYTES, PANEL_BUFFER_MINIMA, PANEL_BUFFER_SCALES

BLOCK_BYTES = 2 * TILE_BYTES
"""From a block's panels to the next block's."""
STARTS = AMX_FIELDS_BYTES // 2
"""Where in a buffer of turned scales and starts the latter begin; 64 bytes for each group."""
ROW_BYTES = 256
"""Of a row in the buffer."""


def make_fill_panel(kind: Any) -> Any:
    """`fill_panel(rows, stride, first, blocks, columns, panel, buffer, fields)`: 16 rows to a panel.

    first: the block of 32 columns to begin with, a multiple of 8. columns: of a row. fields: room for
    AMX_FIELDS_BYTES.
    """
    return _make_copy(kind) if kind.FLOAT else _make_dequantize(kind)


def _make_dequantize(kind: Any) -> Any:
    unpack_to_buffer = make_unpack_to_buffer(kind, 0)
    turn_fields, turn_64 = _make_turn_fields(kind), _make_turn_64(kind)
    size, block_fields = kind.BYTES, 32 // kind.GROUP * 64

    @inline
    def fill_panel(rows, stride, first, blocks, columns, panel, buffer, fields):
        for block in range(0, blocks, 8):
            some = min(8, blocks - block)
            at = rows + (first + block) // 8 * size
            skipped = unpack_to_buffer(at, stride, first + block, some, buffer)
            turn_fields(buffer, fields, 0)
            for b in range(0, some, 2):
                out = panel + (block + b) * BLOCK_BYTES
                turn_64(buffer + 32 * (skipped + b), out, fields + b * block_fields)

    return fill_panel


def _make_copy(kind: Any) -> Any:
    """Of rows that are bfloat16."""
    width, block_width = kind.WIDTH, 32 * kind.WIDTH

    @inline
    def fill_panel(rows, stride, first, blocks, columns, panel, buffer, fields):
        for block in range(0, blocks, 4):
            some = min(4, blocks - block)
            at = (first + block) * block_width
            whole = (columns - 32 * (first + block)) // 32
            for row in range(TILE_ROWS):
                source, out = rows + row * stride + at, buffer + ROW_BYTES * row
                for b in range(some):
                    if b < whole:
                        store(out + 64 * b, load_i8x64(source + 64 * b))
                    else:
                        zero_bytes(out + 64 * b, 64)
                        copy_bytes(out + 64 * b, source + 64 * b, columns % 32 * width)
            for b in range(some):
                _turn_32(buffer + 64 * b, panel + (block + b) * BLOCK_BYTES, 0)

    return fill_panel


def _emit_turn_32(builder: Any, buffer: Any, panel: Any, unused: Any) -> None:
    for i, pairs in enumerate(turned(builder, buffer, i32x16, ROW_BYTES)):
        store_value(builder, builder.add(panel, I64(64 * i)), pairs)


_turn_32 = make_turn(_emit_turn_32)


def _power(kind: Any) -> tuple[int, int]:
    """The place of u's lowest bit in a float, and the power of two that the float is without it."""
    place = 16 if kind.CENTER + kind.LARGEST < 128 else 15
    return place, 2 ** (23 - place)


def _make_turn_fields(kind: Any) -> Any:
    """`turn(buffer, fields, unused)`: scales of 256 columns of 16 rows, and what is added to products."""
    groups, power = 256 // kind.GROUP, float(_power(kind)[1])

    def emit(builder: Any, buffer: Any, fields: Any, unused: Any) -> None:
        scales = turned(builder, builder.add(buffer, I64(PANEL_BUFFER_SCALES)), f32x16, 64)
        minima = scales[8:]
        if kind.HAS_MINIMUM and kind.GROUP == 16:
            minima = turned(builder, builder.add(buffer, I64(PANEL_BUFFER_MINIMA)), f32x16, 64)
        for g in range(groups):
            store_value(builder, builder.add(fields, I64(64 * g)), scales[g])
            if kind.HAS_MINIMUM:
                start = _fma(builder, scales[g], constant(f32x16, [-power] * 16), minima[g])
            else:
                start = builder.fmul(scales[g], constant(f32x16, [-power - kind.OFFSET] * 16))
            store_value(builder, builder.add(fields, I64(STARTS + 64 * g)), start)

    return make_turn(emit)


def _make_turn_64(kind: Any) -> Any:
    """`turn(buffer, panel, fields)`: 64 columns of 16 rows to the panels of two blocks."""
    place, power = _power(kind)
    mask = ir.Constant(i32x16.llvm, [255 << place] * 16)
    exponent = ir.Constant(i32x16.llvm, [127 + power.bit_length() - 1 << 23] * 16)

    def emit(builder: Any, buffer: Any, panel: Any, fields: Any) -> None:
        for j, four in enumerate(turned(builder, buffer, i32x16, ROW_BYTES)):
            group = 4 * j // kind.GROUP
            scale, start = (
                load_value(builder, builder.add(fields, I64(field + 64 * group)), f32x16.llvm)
                for field in (0, STARTS)
            )

            def weight(column: int, four: Any = four, scale: Any = scale, start: Any = start) -> Any:
                shift = place - 8 * column
                amount = ir.Constant(i32x16.llvm, [abs(shift)] * 16)
                moved = (builder.shl if shift > 0 else builder.lshr)(four, amount) if shift else four
                digits = builder.or_(builder.and_(moved, mask), exponent)
                return _fma(builder, builder.bitcast(digits, f32x16.llvm), scale, start)

            for pair in range(2):
                k = 2 * j + pair
                out = builder.add(panel, I64(k // 16 * BLOCK_BYTES + k % 16 * 64))
                value = bfloat_pairs_value(builder, weight(2 * pair), weight(2 * pair + 1))
                store_value(builder, out, value)

    return make_turn(emit)


def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
    return call_llvm(builder, "llvm.fma.v16f32", f32x16.llvm, [a, b, c])
