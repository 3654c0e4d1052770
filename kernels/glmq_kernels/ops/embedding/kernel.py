"""Token ids to rows of the embedding matrix."""

from __future__ import annotations

from typing import Any

from ...formats.dequantize import make_dequantize_64, make_dequantize_block
from ...formats.unpack import unpacking_of
from ...simd.addresses import argument, inline, load_i64, store_f32
from ...simd.vectors import store
from ...threads.argument_record import STATE
from ..batch_state import N_TOKENS, TOKENS
from .arguments import Embed


def rows(format_name: str) -> Any:
    """Kernel: state, matrix, bytes of a row, columns, out (float32 (n_tokens, columns))."""
    kind = unpacking_of(format_name)
    dequantize_row = _make_float_row(kind) if kind.FLOAT else _make_integer_row(kind)

    def kernel(args, thread, threads):
        state, matrix, stride = (
            argument(args, STATE),
            argument(args, Embed.MATRIX),
            argument(args, Embed.ROW_BYTES),
        )
        columns, out = argument(args, Embed.COLUMNS), argument(args, Embed.OUT)
        tokens = argument(state, TOKENS)
        for t in range(thread, argument(state, N_TOKENS), threads):
            dequantize_row(matrix + load_i64(tokens + 8 * t) * stride, out + 4 * columns * t, columns)

    return kernel


def _make_float_row(kind: Any) -> Any:
    load_1, width = kind.load_1, kind.WIDTH

    @inline
    def dequantize_row(row, out, columns):
        for i in range(columns):
            store_f32(out + 4 * i, load_1(row + i * width))

    return dequantize_row


def _make_integer_row(kind: Any) -> Any:
    unpack, unpack_block, size = kind.unpack, kind.unpack_block, kind.BYTES
    values_0, values_1, values_2, values_3 = make_dequantize_64(kind)
    in_blocks, block_values = unpack_block is not None, make_dequantize_block(kind)

    @inline
    def put_64(values, out):
        store(out, values[0])
        store(out + 64, values[1])
        store(out + 128, values[2])
        store(out + 192, values[3])

    @inline
    def dequantize_row(row, out, columns):
        p = row
        for i in range(0, columns // 256 * 256, 256):
            weights, scales, minima = unpack(p)
            put_64(values_0(weights[0], scales, minima), out + 4 * i)
            put_64(values_1(weights[1], scales, minima), out + 4 * i + 256)
            put_64(values_2(weights[2], scales, minima), out + 4 * i + 512)
            put_64(values_3(weights[3], scales, minima), out + 4 * i + 768)
            p += size
        if in_blocks:
            for i in range(columns // 256 * 256, columns, 32):
                weights, scale, minimum = unpack_block(p)
                first, second = block_values(weights, scale, minimum)
                store(out + 4 * i, first)
                store(out + 4 * i + 64, second)
                p += size // 8

    return dequantize_row
