"""One module per tensor type. Each gives, for kernels:

Integer formats (`FLOAT = False`)
    GROUP          columns that share a scale in a panel: 16 or 32
    HAS_MINIMUM    whether weights are `scale * q + minimum`
    WIDE           whether panel weights need all eight bits (see `dot.make_dot`)
    dot_row(row, q, scale, sum16, sum32, columns) -> float32
                   one weight row times one quantized token (see `activation.py` for the arrays)
    unpack_panel(rows, stride, block, panel)
                   16 rows, block of 32 columns -> panel (see `tile.py`)

Float formats (`FLOAT = True`)
    dot_row(row, x, columns) -> float32
    load_16(address) -> f32x16, load_1(address) -> float32, WIDTH bytes of one value

Both
    dequantize_row(row, out, columns)   float32 values of one row
"""

from __future__ import annotations

import importlib
from types import ModuleType


def native_format(name: str) -> ModuleType:
    """The module of a tensor type, such as `Q4_0`."""
    return importlib.import_module(f"{__name__}.{name.lower()}")
