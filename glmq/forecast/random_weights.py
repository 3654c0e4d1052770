"""Random weights of every tensor type, made without quantizing: random bytes, with scales of ordinary size.

The time of a pass does not depend on weights, but on where they send tokens: with weights about zero, no two
rows of which are equal, routers send tokens to different experts.
"""

from __future__ import annotations

import numpy as np
from glmq_kernels.formats.tensor_types import KERNEL_TYPES

DEVIATION = 0.02
"""Of weights, about."""

EMBEDDING_SCALE = 250.0
"""Token embeddings are so much larger than other weights, so that tokens are routed to different experts."""

FIELDS: dict[str, list[tuple[int, float]]] = {
    "Q4_0": [(0, 4.3e-3)], "Q4_1": [(0, 4.3e-3), (2, -3.3e-2)], "Q5_0": [(0, 2.2e-3)],
    "Q5_1": [(0, 2.2e-3), (2, -3.4e-2)], "Q8_0": [(0, 2.7e-4)], "IQ4_NL": [(0, 2.9e-4)], "MXFP4": [],
    "Q2_K": [(80, 2.2e-3), (82, 3.3e-3)], "Q3_K": [(108, 4.7e-4)], "Q4_K": [(0, 1.2e-4), (2, 9e-4)],
    "Q5_K": [(0, 6e-5), (2, 9.3e-4)], "Q6_K": [(208, 1.5e-5)], "IQ4_XS": [(0, 1.6e-5)],
    "IQ3_S": [(0, 1.5e-4)], "IQ3_XXS": [(0, 1.6e-4)], "IQ2_S": [(0, 4e-4)], "IQ2_XS": [(0, 4e-4)],
    "IQ2_XXS": [(0, 4e-4)], "IQ1_S": [(0, 3e-3)], "IQ1_M": [], "TQ2_0": [(64, 2.5e-2)],
    "TQ1_0": [(52, 2.5e-2)],
}  # fmt: skip
"""Float16 fields of a block by place, so that weights have that deviation."""


def random_bytes(type_name: str, n_bytes: int, rng: np.random.Generator) -> np.ndarray:
    """What blocks of a quantized type hold beside their scales, uint8 (n_bytes,)."""
    if type_name == "Q4_0":  # 0 stands for -8, for which there is no 8: without it the mean is 0
        low, high = (rng.integers(1, 16, n_bytes, np.uint8) for _ in range(2))
        both: np.ndarray = low | high << 4
        return both
    return rng.integers(0, 256, n_bytes, np.uint8)


def set_scales(type_name: str, blocks: np.ndarray, scale: float = 1.0) -> None:
    """Write the scales of random blocks, uint8 (n_blocks, block_bytes). scale: a factor of all of them."""
    for at, value in FIELDS[type_name]:
        blocks[:, at : at + 2] = np.array([scale * value], np.float16).view(np.uint8)
    if type_name == "MXFP4":
        blocks[:, 0] = 120 + round(np.log2(scale))  # the power of two
    if type_name == "IQ1_M":  # a float16 in four pieces
        bits = int(np.float16(scale * 2.8e-3).view(np.uint16))
        for piece in range(4):
            blocks[:, 49 + 2 * piece] &= 15
            blocks[:, 49 + 2 * piece] |= (bits >> 4 * piece & 15) << 4


def random_weights(type_name: str, n: int, rng: np.random.Generator, scale: float = 1.0) -> np.ndarray:
    """The bytes of `n` random weights, uint8. scale: a factor of all of them."""
    kind = KERNEL_TYPES[type_name]
    if not kind.is_float:
        data = random_bytes(type_name, kind.row_bytes(n), rng)
        set_scales(type_name, data.reshape(-1, kind.block_bytes), scale)
        return data
    numbers = scale * DEVIATION * rng.standard_normal(n, np.float32)
    if type_name == "BF16":
        return numbers.view(np.uint16)[1::2].copy().view(np.uint8)
    return numbers.astype(np.float16 if type_name == "F16" else np.float32).view(np.uint8)
