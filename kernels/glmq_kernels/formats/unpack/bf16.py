"""BF16: the upper half of a float32."""

from __future__ import annotations

from ...simd.addresses import inline, load_bfloat
from ...simd.conversions import bfloat_to_float
from ...simd.vectors import load_i16x16

FLOAT = True
WIDTH = 2


@inline
def load_16(address):
    return bfloat_to_float(load_i16x16(address))


load_1 = load_bfloat
