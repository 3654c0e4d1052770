"""F32: plain float32."""

from __future__ import annotations

from ...simd.addresses import load_f32
from ...simd.vectors import load_f32x16

FLOAT = True
WIDTH = 4

load_16, load_1 = load_f32x16, load_f32
