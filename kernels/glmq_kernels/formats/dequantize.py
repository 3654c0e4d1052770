"""Weights of integer formats (`formats/`) as float32."""

from __future__ import annotations

from typing import Any

from ..simd.addresses import inline
from ..simd.conversions import to_float, zero_extend
from ..simd.vectors import fma, make_shuffle, splat_f32x16

quarter_0, quarter_1, quarter_2, quarter_3 = (make_shuffle(range(16 * k, 16 * k + 16)) for k in range(4))
LANES = {
    16: [[make_shuffle([k] * 16) for k in range(first, first + 4)] for first in range(0, 16, 4)],
    32: [[make_shuffle([2 * k + i // 2] * 16) for i in range(4)] for k in range(4)],
}
"""For each 64 of 256 weights, and each 16 of these: the scale of their group."""


def make_dequantize_64(kind: Any) -> list[Any]:
    """Four functions, `values(weights, scales, minima) -> four f32x16`, of what `unpack` gives.

    Each takes one of the four vectors of 64 weights, and all scales and minima.
    """
    return [_dequantize_64(kind, lanes) for lanes in LANES[kind.GROUP]]


def _dequantize_64(kind: Any, lanes: list[Any]) -> Any:
    lane_0, lane_1, lane_2, lane_3 = lanes
    has_minimum, offset = kind.HAS_MINIMUM, float(kind.OFFSET)

    @inline
    def values_16(weights, scale, minimum):
        start = minimum if has_minimum else scale * splat_f32x16(-offset)
        return fma(to_float(zero_extend(weights)), scale, start)

    @inline
    def values(weights, scales, minima):
        return (
            values_16(quarter_0(weights, weights), lane_0(scales, scales), lane_0(minima, minima)),
            values_16(quarter_1(weights, weights), lane_1(scales, scales), lane_1(minima, minima)),
            values_16(quarter_2(weights, weights), lane_2(scales, scales), lane_2(minima, minima)),
            values_16(quarter_3(weights, weights), lane_3(scales, scales), lane_3(minima, minima)),
        )

    return values


def make_dequantize_block(kind: Any) -> Any:
    """`values(weights, scale, minimum) -> two f32x16` of what `unpack_block` gives."""
    has_minimum, offset = kind.HAS_MINIMUM, float(kind.OFFSET)

    @inline
    def values(weights, scale, minimum):
        start = splat_f32x16(minimum if has_minimum else -offset * scale)
        first, second = quarter_0(weights, weights), quarter_1(weights, weights)
        factor = splat_f32x16(scale)
        return fma(to_float(zero_extend(first)), factor, start), fma(
            to_float(zero_extend(second)), factor, start
        )

    return values
