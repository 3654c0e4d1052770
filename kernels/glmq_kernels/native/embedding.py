"""Token ids to rows of the embedding matrix."""

from __future__ import annotations

from typing import Any

from ..slots import N_TOKENS, TOKENS
from .formats import native_format
from .memory import argument, load_i64


def rows(format_name: str) -> Any:
    """Kernel: state, matrix, bytes of a row, columns, out (float32 (n_tokens, columns))."""
    dequantize_row = native_format(format_name).dequantize_row

    def kernel(args, thread, threads):
        state, matrix, stride = argument(args, 0), argument(args, 1), argument(args, 2)
        columns, out = argument(args, 3), argument(args, 4)
        tokens = argument(state, TOKENS)
        for t in range(thread, argument(state, N_TOKENS), threads):
            dequantize_row(matrix + load_i64(tokens + 8 * t) * stride, out + 4 * columns * t, columns)

    return kernel
