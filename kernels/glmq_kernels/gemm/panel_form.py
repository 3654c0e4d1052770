"""The panel form of products, for kernels: rows of a matrix times tokens in tiles (`gemm.py`)."""

from __future__ import annotations

from ..jit import isa
from ..simd.addresses import call_8, inline
from .sizes import ROWS

TILE = isa.current().tile
SECOND_16 = TILE * 64
"""From a token's sums with the first 16 of 32 rows to those with the others, in bytes."""


@inline
def multiply(code, rows, stride, count, activation, tile, n_tokens, scratch, sums):
    """Rows times tokens from a tile of the activation on. code: address of the type's `gemm.multiply`."""
    call_8(code, rows, stride, count, activation, tile, n_tokens, scratch, sums)


@inline
def sums_of_rows(sums, first, n_tokens):
    """Where the sums of 32 rows begin, of which `first` is the first: a multiple of 32."""
    return sums + first // ROWS * ((n_tokens + TILE - 1) // TILE * TILE * 4 * ROWS)


@inline
def sums_of_token(sums, i):
    """Where token i's sums with the first 16 of 32 rows are."""
    return sums + (i // TILE * 2 * TILE + i % TILE) * 64
