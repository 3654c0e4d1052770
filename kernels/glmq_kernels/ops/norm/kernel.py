"""Root-mean-square normalization (Zhang and Sennrich, arXiv:1910.07467), ready for matrix products."""

from __future__ import annotations

import math

from ...gemm.activation_record import ACTIVATION_ROWS
from ...simd.addresses import argument, float_argument, inline, load_f32, store_f32
from ...simd.vectors import fma, load_f32x16, splat_f32x16, store, sum_lanes, zero_f32x16
from ...threads.argument_record import STATE
from ..activation.kernel import prepare_row
from ..batch_state import N_TOKENS
from .arguments import RmsNorm


@inline
def inverse_rms(row, columns, epsilon):
    """1 / sqrt(mean square + epsilon) of a float32 row; NaN where the sum of squares is not finite."""
    total = zero_f32x16()
    whole = columns // 16 * 16
    for i in range(0, whole, 16):
        x = load_f32x16(row + 4 * i)
        total = fma(x, x, total)
    square = float(sum_lanes(total))
    for i in range(whole, columns):
        x1 = float(load_f32(row + 4 * i))
        square += x1 * x1
    return 1 / math.sqrt(square / columns + epsilon) + (square - square)


@inline
def scale_row(row, weight, factor, out, first, last):
    """out = row * factor * weight for columns `first` to `last`."""
    i = first
    factors = splat_f32x16(factor)
    while i + 16 <= last:
        store(out + 4 * i, load_f32x16(row + 4 * i) * factors * load_f32x16(weight + 4 * i))
        i += 16
    while i < last:
        store_f32(out + 4 * i, load_f32(row + 4 * i) * factor * load_f32(weight + 4 * i))
        i += 1


def rms(args, thread, threads):
    """Normalize rows into an activation and prepare it.

    A run of one token is worked out by every thread for itself, so that none need wait for another.
    """
    state, activation = argument(args, STATE), argument(args, RmsNorm.OUT)
    n = argument(state, argument(args, RmsNorm.COUNT_SLOT))
    in_row_form = argument(state, argument(args, RmsNorm.ROW_FORM_SLOT))
    columns, weight = argument(args, RmsNorm.COLUMNS), argument(args, RmsNorm.WEIGHT)
    source, epsilon = argument(args, RmsNorm.SOURCE), float_argument(args, RmsNorm.EPSILON)
    out = argument(activation, ACTIVATION_ROWS)
    if argument(state, N_TOKENS) == 1:
        thread, threads = 0, 1
    for t in range(n * thread // threads, n * (thread + 1) // threads):
        row = source + t * columns * 4
        factor = inverse_rms(row, columns, epsilon)
        scale_row(row, weight, factor, out + t * columns * 4, 0, columns)
        prepare_row(activation, t, in_row_form, 0, columns)
