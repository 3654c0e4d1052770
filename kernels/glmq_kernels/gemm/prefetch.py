"""Asking memory for the weights that a product of many tokens will want next."""

from __future__ import annotations

from ..simd.addresses import inline, prefetch
from .sizes import ROWS


@inline
def next_stretch(rows, stride, first, stretch, count, size):
    """Address, in the first of 32 rows, of what is unpacked next: further columns, or the next rows.

    first, stretch, count: where the present stretch begins, its length and the row's, in units of `size`
    bytes.
    """
    if first + stretch < count:
        return rows + (first + stretch) * size
    return rows + ROWS * stride


@inline
def prefetch_part(start, stride, part, parts, count):
    """Ask for `count` bytes from `start` on in each of 32 rows: one of some parts of it all.

    A thread can wait for a few dozen lines of memory at a time; larger parts halt it.
    """
    for row in range(ROWS * part // parts, ROWS * (part + 1) // parts):
        for at in range(0, count, 64):
            prefetch(start + row * stride + at)
