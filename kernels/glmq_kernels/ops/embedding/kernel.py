"""Token ids to rows of the embedding matrix."""

from __future__ import annotations

from typing import Any

from ...formats.dequantize import make_dequantize_row
from ...simd.addresses import argument, load_i64
from ...threads.argument_record import STATE
from ..batch_state import N_TOKENS, TOKENS
from .arguments import Embed


def rows(format_name: str) -> Any:
    """Kernel: state, matrix, bytes of a row, columns, out (float32 (n_tokens, columns))."""
    dequantize_row = make_dequantize_row(format_name)

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
