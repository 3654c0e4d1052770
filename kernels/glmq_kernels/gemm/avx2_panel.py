"""Turning 16 unpacked rows (`panel.py`) into a panel for registers of 32 bytes (`avx2_tile.py`)."""

from __future__ import annotations

from typing import Any

from ..simd.vectors import I64, constant, f32x8, i8x32, i32x8, store_value
from .avx2_tile import WeightForm, words_of_bytes
from .panel_turning import make_turn, turned
from .sizes import PANEL_BUFFER_MINIMA, PANEL_BUFFER_SCALES


def make_turn_block(form: WeightForm) -> Any:
    """`turn(buffer, panel, block_stride)`: 32 columns of 16 rows of the buffer to the panel of a block."""

    def emit(builder: Any, buffer: Any, panel: Any, block_stride: Any) -> None:
        for half in range(2):
            rows = builder.add(buffer, I64(8 * half * 256))
            for j, vector in enumerate(turned(builder, rows, i32x8, 256)):
                if form.step == "words":
                    bytes_ = builder.bitcast(vector, i8x32.llvm)
                    center = constant(i8x32, [form.center - 256 if form.center > 127 else form.center] * 32)
                    for i, words in enumerate(words_of_bytes(builder, builder.sub(bytes_, center))):
                        store_value(builder, builder.add(panel, I64(64 * (2 * j + i) + 32 * half)), words)
                else:
                    store_value(builder, builder.add(panel, I64(64 * j + 32 * half)), vector)

    return make_turn(emit)


def make_turn_block_scales(form: WeightForm) -> Any:
    """`turn(buffer, panel, block_stride)`: scales and minima of 8 blocks to their panels."""
    per_block = 32 // form.group

    def emit(builder: Any, buffer: Any, panel: Any, block_stride: Any) -> None:
        def put(source: int, first_group: int, field: int) -> None:
            for half in range(2):
                rows = builder.add(buffer, I64(source + 8 * half * 64))
                for i, vector in enumerate(turned(builder, rows, f32x8, 64)):
                    g = first_group + i
                    block = builder.add(panel, builder.mul(block_stride, I64(g // per_block)))
                    place = form.weight_bytes + g % per_block * form.group_bytes
                    store_value(builder, builder.add(block, I64(place + field + 32 * half)), vector)

        for first in range(0, 8 * per_block, 8):
            put(PANEL_BUFFER_SCALES + 4 * first, first, 0)
            if form.has_minimum:
                minima = PANEL_BUFFER_MINIMA if form.group == 16 else PANEL_BUFFER_SCALES + 32
                put(minima + 4 * first, first, 64)

    return make_turn(emit)
