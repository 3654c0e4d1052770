"""Random weights of every tensor type, their float values, and the plain arithmetic of the kernels."""

from __future__ import annotations

import gguf
import numpy as np
from glmq_kernels.formats import FORMATS

HALF_FIELDS = {
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "IQ4_NL": [0], "MXFP4": [],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_XS": [0],
    "IQ3_S": [0], "IQ3_XXS": [0], "IQ2_S": [0], "IQ2_XS": [0], "IQ2_XXS": [0], "IQ1_S": [0], "IQ1_M": [],
    "TQ2_0": [64], "TQ1_0": [52],
}  # fmt: skip
"""Byte offsets of the float16 fields of a block, which random bytes must not fill."""


def random_weights(rng: np.random.Generator, rows: int, columns: int, type_name: str) -> np.ndarray:
    """Any bytes that are a valid matrix of the type: uint8 (rows, row bytes)."""
    kind = FORMATS[type_name]
    if kind.is_float:
        return gguf.quants.quantize(
            rng.standard_normal((rows, columns)).astype(np.float32), gguf.GGMLQuantizationType[type_name]
        ).view(np.uint8)
    blocks = rng.integers(0, 256, (rows, columns // kind.block, kind.block_bytes), np.uint8)
    for at in HALF_FIELDS[type_name]:
        scale = rng.uniform(-0.02, 0.02, blocks.shape[:2]).astype(np.float16)
        blocks[:, :, at : at + 2] = scale[..., None].view(np.uint8)
    if type_name == "MXFP4":
        blocks[:, :, 0] = rng.integers(115, 125, blocks.shape[:2])  # a power of two
    if type_name == "IQ1_M":
        scale = rng.uniform(-0.02, 0.02, blocks.shape[:2]).astype(np.float16).view(np.uint16)
        for i in range(4):  # four bits of the scale above four times three others
            high = ((scale >> (4 * i)) & 15).astype(np.uint8) << 4
            blocks[:, :, 49 + 2 * i] = (blocks[:, :, 49 + 2 * i] & 15) | high
    return np.ascontiguousarray(blocks.reshape(rows, -1))


def dequantized(weights: np.ndarray, type_name: str) -> np.ndarray:
    """float64 (rows, columns), by the gguf package."""
    kind = gguf.GGMLQuantizationType[type_name]
    values = weights.view({"F32": np.float32, "F16": np.float16}.get(type_name, np.uint8))
    return gguf.quants.dequantize(values, kind).astype(np.float64)


def quantized_activation(x: np.ndarray) -> np.ndarray:
    """What integer products see of float32 (n, columns): int8 with a scale per 32, as float64."""
    blocks = x.reshape(len(x), -1, 32)
    largest = np.abs(blocks).max(axis=2, keepdims=True)
    scale = largest / np.float32(127)
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.rint(blocks * np.where(largest > 0, np.float32(127) / largest, np.float32(0)))
    return (q.astype(np.float64) * scale).reshape(x.shape)


def expected_product(x: np.ndarray, weights: np.ndarray, type_name: str) -> np.ndarray:
    """x W^T in float64 with the activation as the kernels quantize it."""
    seen = x.astype(np.float64) if FORMATS[type_name].is_float else quantized_activation(x)
    return seen @ dequantized(weights, type_name).T
