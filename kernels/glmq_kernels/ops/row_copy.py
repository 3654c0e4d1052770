"""Copying rows of float32, for kernels."""

from __future__ import annotations

from ..simd.addresses import inline, load_f32, store_f32
from ..simd.vectors import load_f32x16, store


@inline
def copy_row(source, target, columns):
    """Copy `columns` float32 from one address to another."""
    whole = columns // 16 * 16
    for i in range(0, whole, 16):
        store(target + 4 * i, load_f32x16(source + 4 * i))
    for i in range(whole, columns):
        store_f32(target + 4 * i, load_f32(source + 4 * i))
