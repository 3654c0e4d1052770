"""Make quantize.npz: the blocks that llama.cpp's quantizer makes of some weights, for every type of blocks.

Needs xllamacpp. Of each type there are the blocks without importance (`TYPE`), and with it where that changes
anything (`TYPE weighed`). The weights and the importance of their columns are kept beside them.

python tests/golden/make_quantize_golden.py
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path[:0] = [str(ROOT / folder) for folder in (".", "kernels", "bench")]

from ggml_quantize import quantized
from glmq_kernels.formats.quantizers.table import QUANTIZERS

from tests.kernels.test_quantize import GOLDEN, TYPES


def weights() -> np.ndarray:
    """Three rows of 768: usual ones, long tails, and blocks of kinds that are rare (see below)."""
    rng = np.random.default_rng(16)
    rows = rng.standard_normal((3, 768)) * 0.02
    rows[1] = rng.standard_t(3, 768) * 0.01
    rows[2, :32] = 0  # a group of zeros within a block of others
    rows[2, 32:64] = 0.125  # all the same
    rows[2, 64:96] = -0.125
    rows[2, 96:128] = np.abs(rows[2, 96:128]) + 0.5  # all above zero
    rows[2, 128:160] *= 1e-4  # too small for the scales of their block
    rows[2, 200] = 3  # one that is far away
    rows[2, 256:512] = 0  # a block of zeros
    return rows.astype(np.float16).astype(np.float32)  # kept in half of the bytes


def main() -> None:
    """Make the file."""
    rows = weights()
    importance = np.random.default_rng(17).gamma(0.5, 1, 768).astype(np.float16).astype(np.float32)
    found = {name: quantized(rows, name, None) for name in TYPES}
    weighed = [name for name in TYPES if QUANTIZERS[name].uses_importance]
    found |= {f"{name} weighed": quantized(rows, name, importance) for name in weighed}
    halves = {"weights": rows.astype(np.float16), "importance": importance.astype(np.float16)}
    np.savez_compressed(GOLDEN, **halves, **found)


if __name__ == "__main__":
    main()
