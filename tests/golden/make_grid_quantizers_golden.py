"""Make grid_quantizers.npz: what llama.cpp's quantizer makes of a sample of weights, for every grid type.

Needs xllamacpp. Of each type there are the blocks with importance
and, where the type allows it, without (`TYPE alone`). The sample is kept beside them.

python tests/golden/make_grid_quantizers_golden.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in (".", "kernels", "bench")]

from ggml_quantize import quantized

from tests.kernels.grid_sample import ALONE, GOLDEN, TYPES, sample


def main() -> None:
    """Make the file."""
    weights, importance = sample()
    found = {name: quantized(weights, name, importance) for name in TYPES}
    found |= {f"{name} alone": quantized(weights, name, None) for name in ALONE}
    np.savez_compressed(GOLDEN, weights=weights, importance=importance, **found)


if __name__ == "__main__":
    main()
