"""Rows of a quantized matrix times float32 tokens: weights become float32 on their way.

The kernels of `gemv.py` and `gemm.py` for tapes whose activations are float32 (`Tape.activations`). They
do without the rounding of activations to 8 bits, and are slower: a float has four times the bytes of an
int8, and there is no dot product of four at once.
"""

from __future__ import annotations

from typing import Any

from ..formats.dequantize import make_dequantize_64, make_dequantize_block
from ..formats.unpack import unpacking_of
from ..simd.addresses import inline, load_i64
from ..simd.vectors import fma, load_f32x16, store, sum_lanes
from .float_gemm import make_float_product
from .gemm import product_kernel
from .gemv import add_64, float_token, rows_kernel
from .row_record import UNIT
from .row_units import SUMS_BYTES, make_prefetch_unit, stream_ahead


def dot_rows(format_name: str) -> Any:
    """Kernel: as `gemv.dot_rows`."""
    return rows_kernel(float_token, _make_rows(unpacking_of(format_name)), _finish)


def multiply(format_name: str) -> Any:
    """Kernel: as `gemm.multiply`."""
    return product_kernel(make_float_product(unpacking_of(format_name), in_bfloat=False))


@inline
def _finish(sums, row, columns, token):
    return sum_lanes(load_f32x16(sums) + load_f32x16(sums + 64))


def _make_rows(kind: Any) -> Any:
    ask_for, unpack, unpack_block, size = make_prefetch_unit(kind), kind.unpack, kind.unpack_block, kind.BYTES
    values_0, values_1, values_2, values_3 = make_dequantize_64(kind)
    in_blocks, block_values = unpack_block is not None, make_dequantize_block(kind)

    @inline
    def add_to_all(values, at, tokens, n_tokens, sums):
        for t in range(n_tokens):
            add_64(values, load_i64(tokens + 8 * t) + at, sums + SUMS_BYTES * t)

    @inline
    def add_block(block, at, tokens, n_tokens, sums):
        for t in range(n_tokens):
            x, total = load_i64(tokens + 8 * t) + at, sums + SUMS_BYTES * t
            store(total, fma(block[0], load_f32x16(x), load_f32x16(total)))
            store(total + 64, fma(block[1], load_f32x16(x + 64), load_f32x16(total + 64)))

    @inline
    def add_rows(rows, streams, end, columns, tokens, n_tokens, sums, spare):
        n_streams, stream_bytes, stream_end, others = streams
        for unit in range(columns // UNIT):
            p, at, total = rows + unit * size, 4 * UNIT * unit, sums
            ahead = stream_ahead(p, stream_end, others)
            for _ in range(n_streams):
                ask_for(p + ahead)
                weights, scales, minima = unpack(p)
                add_to_all(values_0(weights[0], scales, minima), at, tokens, n_tokens, total)
                add_to_all(values_1(weights[1], scales, minima), at + 256, tokens, n_tokens, total)
                add_to_all(values_2(weights[2], scales, minima), at + 512, tokens, n_tokens, total)
                add_to_all(values_3(weights[3], scales, minima), at + 768, tokens, n_tokens, total)
                p, total = p + stream_bytes, total + SUMS_BYTES * n_tokens
        if in_blocks:
            for k in range(n_streams):
                p, at = rows + k * stream_bytes + columns // UNIT * size, columns // UNIT * 4 * UNIT
                total = sums + SUMS_BYTES * n_tokens * k
                for _ in range(columns % UNIT // 32):
                    block, scale, minimum = unpack_block(p)
                    add_block(block_values(block, scale, minimum), at, tokens, n_tokens, total)
                    p, at = p + size // 8, at + 128

    return add_rows
