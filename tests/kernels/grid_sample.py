"""The weights and the importance on which grid types are compared with llama.cpp's quantizer."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

GOLDEN = Path(__file__).parent.parent / "golden" / "grid_quantizers.npz"
TYPES = ("IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_S", "IQ1_M")
ALONE = ("IQ2_S", "IQ3_XXS", "IQ3_S", "IQ1_M")
"""Types that can do without importance."""


def sample() -> tuple[np.ndarray, np.ndarray]:
    """Weights (4, 768) of differing sizes and tails, and the importance of their columns."""
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((4, 768)) * np.array([[0.02], [0.001], [3], [0.05]])
    weights[3] = rng.standard_t(4, 768) * 0.02
    return weights.astype(np.float32), np.exp(rng.standard_normal(768)).astype(np.float32)


def weighted_error(
    weights: np.ndarray, quantized: np.ndarray, type_name: str, importance: np.ndarray | None
) -> float:
    """Σ w (x - y)², with the weights of errors that the quantizers of these types use."""
    found = gguf.quants.dequantize(quantized, gguf.GGMLQuantizationType[type_name])
    blocks = weights.astype(np.float64).reshape(-1, 256)
    squares = blocks**2
    variance = squares.mean(axis=1, keepdims=True) * (1 if type_name in ("IQ2_XXS", "IQ2_XS") else 2)
    if importance is not None:
        w = np.resize(importance, weights.shape).reshape(-1, 256) * np.sqrt(variance + squares)
    else:
        w = squares + (variance / 4 if type_name == "IQ2_S" else 0)
    return float((w * (blocks - found.reshape(-1, 256)) ** 2).sum())
