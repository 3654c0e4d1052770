"""Random weights of every tensor type, their float values, and the plain arithmetic of the kernels."""

from __future__ import annotations

import gguf
import numpy as np
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.gemm.sizes import few, takes_bfloat

HALF_FIELDS = {
    "Q8_0": [0], "Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "IQ4_NL": [0], "MXFP4": [],
    "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208], "IQ4_XS": [0],
    "IQ3_S": [0], "IQ3_XXS": [0], "IQ2_S": [0], "IQ2_XS": [0], "IQ2_XXS": [0], "IQ1_S": [0], "IQ1_M": [],
    "TQ2_0": [64], "TQ1_0": [52],
}  # fmt: skip
"""Byte offsets of the float16 fields of a block, which random bytes must not fill."""


def random_weights(rng: np.random.Generator, rows: int, columns: int, type_name: str) -> np.ndarray:
    """Any bytes that are a valid matrix of the type: uint8 (rows, row bytes)."""
    kind = KERNEL_TYPES[type_name]
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
        _set_iq1_m_scales(blocks, rng.uniform(-0.02, 0.02, blocks.shape[:2]))
    return np.ascontiguousarray(blocks.reshape(rows, -1))


def _set_iq1_m_scales(blocks: np.ndarray, scales: np.ndarray) -> None:
    """Put a block's scale where it belongs: four bits above each of four times three others."""
    bits = scales.astype(np.float16).view(np.uint16)
    for i in range(4):
        high = ((bits >> (4 * i)) & 15).astype(np.uint8) << 4
        blocks[:, :, 49 + 2 * i] = (blocks[:, :, 49 + 2 * i] & 15) | high


MINIMUM_OF_SCALE = {"Q2_K": 1.5, "Q4_K": 7.5, "Q5_K": 15.5}
"""How many times the scale the minimum must be for weights around 0."""


def weights_of_deviation(
    rng: np.random.Generator, rows: int, columns: int, type_name: str, deviation: float
) -> np.ndarray:
    """Random weights around 0 of about a standard deviation, for types in blocks of 256."""
    data = random_weights(rng, rows, columns, type_name)
    blocks = data.reshape(rows, -1, KERNEL_TYPES[type_name].block_bytes)

    def set_scales(scale: float) -> None:
        values = scale * rng.uniform(0.5, 1.5, blocks.shape[:2])
        if type_name == "IQ1_M":
            _set_iq1_m_scales(blocks, values)
        for field, at in enumerate(HALF_FIELDS[type_name]):
            factor = MINIMUM_OF_SCALE[type_name] if field else 1.0
            blocks[:, :, at : at + 2] = (factor * values).astype(np.float16)[..., None].view(np.uint8)

    set_scales(0.01)
    found = dequantized(data, type_name).std()
    set_scales(0.01 * deviation / found)
    return data


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
    """x W^T in float64 with the activation as the kernels round it."""
    if not KERNEL_TYPES[type_name].is_float:
        seen = quantized_activation(x)
    elif takes_bfloat(type_name) and len(x) > few():
        seen = rounded_to_bfloat(x)
    else:
        seen = x.astype(np.float64)
    return seen @ dequantized(weights, type_name).T


def rounded_to_bfloat(x: np.ndarray) -> np.ndarray:
    """The nearest bfloat16 of each value, as float64."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
    upper = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16 << 16
    return upper.astype(np.uint32).view(np.float32).astype(np.float64)
