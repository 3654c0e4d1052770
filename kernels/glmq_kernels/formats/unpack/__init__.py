"""One module per tensor type, or per family of closely related ones. Each gives, for kernels:

Integer formats (`FLOAT = False`): a weight is  scale * (u - OFFSET) + minimum,  u an unsigned byte
    GROUP          weights that share a scale (and a minimum): 16 or 32
    OFFSET         as above
    HAS_MINIMUM    whether there are minima; otherwise they are 0
    CENTER         subtracted from u where weights must be signed bytes
    LARGEST        magnitude that u - CENTER does not exceed
    BYTES          of 256 weights
    unpack(p) -> (w0, w1, w2, w3), scales, minima
                   256 weights at p: u of weights 64i.. as i8x64, a float32 lane for each group (without
                   minima the scales stand in their place)
    unpack_block   None, or for formats in blocks of 32:
                   unpack_block(p) -> u as i8x32, scale, minimum (float32)

Float formats (`FLOAT = True`)
    load_16(address) -> f32x16, load_1(address) -> float32, WIDTH bytes of one value

Everything else (`gemv.py`, `panel.py`, `embedding.py`) is made of these.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .nibbles import NibbleUnpacking

NIBBLES = "NIBBLES_"
"""Beginning of the names of types in which weights are nibbles that were of another type."""


def unpacking_of(name: str) -> ModuleType | NibbleUnpacking:
    """The module of a tensor type, such as `Q4_0`, or what stands for one of weights that became nibbles."""
    if name.startswith(NIBBLES):
        from .nibbles import nibbles_of

        return nibbles_of(name.removeprefix(NIBBLES))
    return importlib.import_module(f"{__name__}.{name.lower()}")
