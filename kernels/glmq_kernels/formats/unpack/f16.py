"""F16: IEEE half precision."""

from __future__ import annotations

from ...simd.addresses import inline, load_half
from ...simd.conversions import half_to_float
from ...simd.vectors import load_i16x16

FLOAT = True
WIDTH = 2


@inline
def load_16(address):
    return half_to_float(load_i16x16(address))


load_1 = load_half
