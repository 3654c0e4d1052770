"""F32: plain float32."""

from __future__ import annotations

from ..memory import load_f32
from ..simd import load_f32x16
from .floats import make_dequantize_row, make_dot_row

FLOAT = True
WIDTH = 4

load_16, load_1 = load_f32x16, load_f32
dot_row = make_dot_row(load_16, load_1, WIDTH)
dequantize_row = make_dequantize_row(load_1, WIDTH)
