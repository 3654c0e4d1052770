"""Building panels (`tile.py` draws them): 16 weight rows brought side by side, one row per lane.

256 columns at a time: each row is unpacked into a buffer, then the buffer is turned:

    buffer   16 rows x 256 bytes              u
             16 rows x 16 float32             scales of groups (8 scales and 8 minima where GROUP is 32)
             16 rows x 16 float32             minima where GROUP is 16
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from ..jit import isa
from ..simd.addresses import inline, store_f32
from ..simd.dot import sum_of_weights
from ..simd.vectors import (
    I64,
    Vector,
    constant,
    f32x16,
    fma,
    i8x64,
    i32x16,
    make_constant,
    store,
    store_value,
)
from .avx2_panel import make_turn_block, make_turn_block_scales
from .avx2_tile import weight_form
from .matrix_tile import make_turn_rows
from .panel_turning import make_turn, turned
from .sizes import PANEL_BUFFER_MINIMA, PANEL_BUFFER_SCALES
from .tile import group_bytes
from .tile_record import IN_SHORT_REGISTERS


def _make_turn_64(kind: Any) -> Any:
    """`turn(buffer, panel, block_stride)`: 64 columns of the buffer to the panels of two blocks."""
    group, size = kind.GROUP, group_bytes(kind.HAS_MINIMUM)

    def emit(builder: Any, buffer: Any, panel: Any, block_stride: Any) -> None:
        center = constant(i8x64, [kind.CENTER - 256 if kind.CENTER > 127 else kind.CENTER] * 64)
        columns = [
            builder.sub(builder.bitcast(v, i8x64.llvm), center) for v in turned(builder, buffer, i32x16, 256)
        ]
        second = builder.add(panel, block_stride)
        for block, vectors in ((panel, columns[:8]), (second, columns[8:])):
            for j, vector in enumerate(vectors):
                store_value(builder, builder.add(block, I64(64 * j)), vector)
            for g in range(32 // group):
                start = sum_of_weights(builder, vectors[g * group // 4 : (g + 1) * group // 4])
                start = builder.sub(ir.Constant(start.type, [0] * 16), start)
                store_value(builder, builder.add(block, I64(512 + g * size + 64)), start)

    return make_turn(emit)


def _make_turn_scales(kind: Any) -> Any:
    """`turn(buffer, panel, block_stride)`: scales and minima of 8 blocks to their panels."""
    group, size = kind.GROUP, group_bytes(kind.HAS_MINIMUM)
    per_block = 32 // group

    def emit(builder: Any, buffer: Any, panel: Any, block_stride: Any) -> None:
        def put(vectors: list[Any], field: int) -> None:
            for g in range(256 // group):
                block = builder.add(panel, builder.mul(block_stride, I64(g // per_block)))
                place = 512 + g % per_block * size + field
                store_value(builder, builder.add(block, I64(place)), vectors[g])

        scales = turned(builder, builder.add(buffer, I64(PANEL_BUFFER_SCALES)), f32x16, 64)
        put(scales, 0)
        if kind.HAS_MINIMUM:
            if group == 16:
                put(turned(builder, builder.add(buffer, I64(PANEL_BUFFER_MINIMA)), f32x16, 64), 128)
            else:
                put(scales[8:], 128)

    return make_turn(emit)


def make_unpack_to_buffer(kind: Any, center: int) -> Any:
    """`unpack_to_buffer(at, stride, first, blocks, buffer)`: up to 8 blocks of 32 columns of 16 rows.

    at: where the 256 columns of block `first`, a multiple of 8, are in the first row. Minima are those of
    u - center. Gives how many blocks lie in the buffer before those that are wanted.
    """
    unpack, unpack_block, size = kind.unpack, kind.unpack_block, kind.BYTES
    in_blocks, has_minimum = unpack_block is not None, kind.HAS_MINIMUM
    minima_at = PANEL_BUFFER_MINIMA if kind.GROUP == 16 else PANEL_BUFFER_SCALES + 32
    # Minima belong to u; what is multiplied is u - center.
    lanes, added = 256 // kind.GROUP, float(center - kind.OFFSET)
    centers = make_constant(Vector("f32", lanes), [added] * lanes)

    @inline
    def unpack_rows(rows, stride, buffer, skipped):
        # The first `skipped` groups' scales fall on lanes, and weights, that are not there yet or unused.
        for r in range(16):
            weights, scales, minima = unpack(rows + r * stride)
            out = buffer + 256 * r
            at = buffer + 64 * r - 4 * skipped
            store(at + PANEL_BUFFER_SCALES, scales)
            if has_minimum:
                store(at + minima_at, fma(scales, centers(), minima))
            store(out, weights[0])
            store(out + 64, weights[1])
            store(out + 128, weights[2])
            store(out + 192, weights[3])

    @inline
    def unpack_blocks(rows, stride, blocks, buffer):
        for r in range(16):
            for b in range(blocks):
                weights, scale, minimum = unpack_block(rows + r * stride + b * (size // 8))
                store(buffer + 256 * r + 32 * b, weights)
                store_f32(buffer + PANEL_BUFFER_SCALES + 64 * r + 4 * b, scale)
                if has_minimum:
                    store_f32(buffer + minima_at + 64 * r + 4 * b, minimum + added * scale)

    @inline
    def unpack_to_buffer(at, stride, first, blocks, buffer):
        skipped = 0
        if in_blocks and blocks < 8:
            if first:
                # A row's last blocks are unpacked together with those before them.
                skipped = 8 - blocks
                unpack_rows(at - skipped * (size // 8), stride, buffer, skipped)
            else:
                unpack_blocks(at, stride, blocks, buffer)
        else:
            unpack_rows(at, stride, buffer, 0)
        return skipped

    return unpack_to_buffer


def make_unpack_panel(kind: Any) -> Any:
    """`unpack_panel(rows, stride, first, blocks, panel, block_stride, buffer)` of an integer format.

    Brings up to 8 blocks of 32 columns of 16 rows, from block `first` (a multiple of 8) on, into panels
    `block_stride` bytes apart. For an odd number one more panel is written.
    """
    if IN_SHORT_REGISTERS:
        form = weight_form(kind)
        center, at_once = form.center, 1
        turn, turn_scales = make_turn_block(form), make_turn_block_scales(form)
    else:
        center, at_once = kind.CENTER, 2
        turn = make_turn_rows(kind) if isa.current().matrix else _make_turn_64(kind)
        turn_scales = _make_turn_scales(kind)
    unpack_to_buffer, size = make_unpack_to_buffer(kind, center), kind.BYTES

    @inline
    def unpack_panel(rows, stride, first, blocks, panel, block_stride, buffer):
        skipped = unpack_to_buffer(rows + first // 8 * size, stride, first, blocks, buffer)
        for b in range(0, blocks, at_once):
            turn(buffer + 32 * (skipped + b), panel + b * block_stride, block_stride)
        turn_scales(buffer, panel, block_stride)

    return unpack_panel
