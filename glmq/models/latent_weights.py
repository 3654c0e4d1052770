"""The matrices of latent attention by head, from the two layouts of files.

attn_k_b   (n_heads, kv_rank, nope_dim)     K_h turned, as the absorbed form wants it
attn_v_b   (n_heads, value_dim, kv_rank)    V_h
attn_kv_b  (n_heads, nope_dim + value_dim, kv_rank)    older files: K_h, then V_h, of each head
"""

from __future__ import annotations

import numpy as np
from glmq_kernels.ops.operands import Matrix, matrix_of
from glmq_kernels.ops.operations import HeadMatrices

from ..weights import Weights
from .latent_shape import LatentShape

WIDE_TYPES = ("F32", "BF16")
"""Types whose turned matrices are F32; those of others are F16."""


def key_matrices(weights: Weights, prefix: str, shape: LatentShape) -> HeadMatrices:
    """K_h turned, (kv_rank, nope_dim) for each head."""
    name = f"{prefix}.attn_k_b.weight"
    if name in weights:
        matrix = weights.matrix_of_heads(name, shape.n_heads, shape.kv_rank, shape.nope_dim)
    else:
        matrix = _turned(weights, prefix, shape)
    return HeadMatrices(matrix, shape.n_heads, matrix.n_bytes)


def value_matrices(weights: Weights, prefix: str, shape: LatentShape) -> HeadMatrices:
    """V_h, (value_dim, kv_rank) for each head."""
    name = f"{prefix}.attn_v_b.weight"
    if name in weights:
        matrix = weights.matrix_of_heads(name, shape.n_heads, shape.value_dim, shape.kv_rank)
        return HeadMatrices(matrix, shape.n_heads, matrix.n_bytes)
    both = _both(weights, prefix, shape)
    first = Matrix(
        both.address + shape.nope_dim * both.row_bytes, shape.value_dim, both.columns, both.type, both.memory
    )
    return HeadMatrices(first, shape.n_heads, (shape.nope_dim + shape.value_dim) * both.row_bytes)


def _both(weights: Weights, prefix: str, shape: LatentShape) -> Matrix:
    rows = shape.n_heads * (shape.nope_dim + shape.value_dim)
    return weights.matrix(f"{prefix}.attn_kv_b.weight", rows, shape.kv_rank, as_stored=True)


def _turned(weights: Weights, prefix: str, shape: LatentShape) -> Matrix:
    """K_h turned, from where it stands with V_h. Its rows become columns, so its blocks do not stay."""
    both = _both(weights, prefix, shape)
    turned = weights.rewrite(f"{prefix}.attn_k_b.weight", lambda: _keys_turned(both, shape))
    type_name = "F32" if turned.dtype == np.float32 else "F16"
    return matrix_of(turned.view(np.uint8).reshape(-1), shape.kv_rank, shape.nope_dim, type_name)


def _keys_turned(both: Matrix, shape: LatentShape) -> np.ndarray:
    """K_h turned as numbers: (n_heads, kv_rank, nope_dim)."""
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    content = np.ascontiguousarray(both.memory, np.uint8)[: both.n_bytes].reshape(both.rows, both.row_bytes)
    numbers = dequantize(content, GGMLQuantizationType[both.type])
    by_head = numbers.reshape(shape.n_heads, shape.nope_dim + shape.value_dim, shape.kv_rank)
    turned = by_head[:, : shape.nope_dim].transpose(0, 2, 1)
    with np.errstate(over="ignore"):  # a damaged file's numbers: logits that are not finite are an error
        return np.ascontiguousarray(turned, np.float32 if both.type in WIDE_TYPES else np.float16)
