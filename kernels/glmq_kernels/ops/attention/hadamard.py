"""Products with a Hadamard matrix, by the fast Walsh-Hadamard transform."""

from __future__ import annotations

from typing import Any

from ...simd.addresses import inline
from ...simd.vectors import (
    f32x16,
    fma,
    load_f32x16,
    make_constant,
    make_shuffle,
    splat_f32x16,
    square_root,
    store,
)


def _make_step(stride: int) -> Any:
    """`step(x)`: sums and differences of lanes `stride` apart."""
    swap = make_shuffle([lane ^ stride for lane in range(16)])
    signs = make_constant(f32x16, [-1.0 if lane & stride else 1.0 for lane in range(16)])

    @inline
    def step(x):
        return fma(x, signs(), swap(x, x))

    return step


_step_1, _step_2, _step_4, _step_8 = (_make_step(stride) for stride in (1, 2, 4, 8))


@inline
def hadamard(row, columns, block):
    """Multiply each `block` of a row, float32 (columns,), by the orthonormal Hadamard matrix, in place.

    block: a power of two from 16 on that divides `columns`. Lengths and scalar products stay as they are, and
    the matrix is its own inverse.
    """
    scale = square_root(splat_f32x16(1.0 / block))
    for d in range(0, columns, 16):
        x = _step_8(_step_4(_step_2(_step_1(load_f32x16(row + 4 * d)))))
        store(row + 4 * d, x * scale)
    stride = 16
    while stride < block:
        for first in range(0, columns, 2 * stride):
            for d in range(first, first + stride, 16):
                a, b = load_f32x16(row + 4 * d), load_f32x16(row + 4 * (d + stride))
                store(row + 4 * d, a + b)
                store(row + 4 * (d + stride), a - b)
        stride *= 2
