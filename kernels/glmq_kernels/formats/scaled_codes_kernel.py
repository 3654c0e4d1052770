"""Codes of eight bits to floats."""

from __future__ import annotations

from ..simd.addresses import argument, load_f32, load_u8, store_f32
from .scaled_codes_arguments import DecodeRows


def rows(args, thread, threads):
    codes, out = argument(args, DecodeRows.CODES), argument(args, DecodeRows.OUT)
    n_rows, columns = argument(args, DecodeRows.N_ROWS), argument(args, DecodeRows.COLUMNS)
    table, scales = argument(args, DecodeRows.TABLE), argument(args, DecodeRows.SCALES)
    first_row = argument(args, DecodeRows.FIRST_ROW)
    block_rows, block_columns = (
        argument(args, DecodeRows.BLOCK_ROWS),
        argument(args, DecodeRows.BLOCK_COLUMNS),
    )
    blocks_in_row = argument(args, DecodeRows.BLOCKS_IN_ROW)
    for r in range(n_rows):
        scale_at = scales + 4 * blocks_in_row * ((first_row + r) // block_rows)
        for start in range(0, columns, block_columns):
            scale = load_f32(scale_at)
            scale_at += 4
            first = r * columns + start
            for i in range(first, first + min(block_columns, columns - start)):
                store_f32(out + 4 * i, load_f32(table + 4 * load_u8(codes + i)) * scale)
