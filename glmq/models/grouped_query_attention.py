"""Grouped-query attention (Ainslie et al., arXiv:2305.13245): several query heads share a key and a value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from glmq_kernels.errors import GlmqError
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.attention.cache_layout import CacheShape
from glmq_kernels.ops.operands import Activation

from ..gguf import GET_IT_AGAIN, GGUFFile
from ..weights import Weights
from .decoder import Decoder


@dataclass(frozen=True)
class AttentionShape:
    """Sizes of grouped-query attention."""

    n_heads: int
    n_kv_heads: int
    head_dim: int
    expansion: ClassVar[None] = None

    @classmethod
    def from_gguf(cls, file: GGUFFile) -> AttentionShape:
        """What the metadata says. Raises GlmqError for what the attention kernels cannot do."""
        prefix = file.text("general.architecture")
        n_heads = file.integer(f"{prefix}.attention.head_count", least=1)
        n_kv_heads = file.integer(f"{prefix}.attention.head_count_kv", n_heads, least=1)
        hidden_size = file.integer(f"{prefix}.embedding_length", least=1)
        head_dim = file.integer(f"{prefix}.attention.key_length", hidden_size // n_heads, least=1)
        if n_heads % n_kv_heads:
            raise GlmqError(
                f"{file.path}: {n_heads} attention heads cannot share {n_kv_heads} key/value heads evenly;"
                f" the file is damaged: {GET_IT_AGAIN}"
            )
        if head_dim % 16:
            raise GlmqError(
                f"{file.path}: attention heads of {head_dim} dimensions are not supported, only multiples of"
                " 16; choose another model"
            )
        value_length = file.integer(f"{prefix}.attention.value_length", head_dim)
        if value_length != head_dim:
            raise GlmqError(
                f"{file.path}: {prefix}.attention.value_length is {value_length} where key_length is"
                f" {head_dim}, which glmq does not compute; choose another file"
            )
        return cls(n_heads, n_kv_heads, head_dim)

    def cache(self, n_layers: int, cache_type: str, n_prediction_layers: int = 0) -> CacheShape:
        """What is kept of each token."""
        return CacheShape(
            n_layers + n_prediction_layers, self.n_kv_heads, key_dim=self.head_dim, value_dim=self.head_dim,
            type=cache_type, n_prediction_layers=n_prediction_layers,
        )  # fmt: skip

    def check_weights(self, weights: Weights, hidden_size: int, layer: int) -> None:
        """Refuse sizes that the file only claims, before memory is taken for them."""
        weights.check(f"blk.{layer}.attn_q.weight", (self.n_heads * self.head_dim, hidden_size))
        weights.check(f"blk.{layer}.attn_k.weight", (self.n_kv_heads * self.head_dim, hidden_size))


class GroupedQueryAttention:
    """The attention of a decoder's layers, with the buffers that they use in turn."""

    def __init__(self, decoder: Decoder, shape: AttentionShape) -> None:
        self._decoder, self._shape = decoder, shape
        tape = decoder.tape
        self._q = ops.float_rows(tape, shape.n_heads * shape.head_dim)
        self._k, self._v = (ops.float_rows(tape, shape.n_kv_heads * shape.head_dim) for _ in range(2))
        self._attended = ops.new_activation(tape, shape.n_heads * shape.head_dim)

    def layer(self, layer: int) -> None:
        """x += W_o softmax(q k^T) v, with q, k, v from `normed`."""
        self._project(layer, "qkv")
        self._rotate_and_store(layer, self._shape.n_heads)
        decoder, weights, shape = self._decoder, self._decoder.weights, self._shape
        attended = self._attend(layer)
        prefix = f"blk.{layer}"
        output = weights.matrix(
            f"{prefix}.attn_output.weight", decoder.hidden_size, shape.n_heads * shape.head_dim
        )
        bias = weights.optional_vector(f"{prefix}.attn_output.bias", decoder.hidden_size)
        projection = ops.Projection(output, decoder.x, bias)
        ops.matmul(decoder.tape, attended, projection, accumulate=True, part=decoder.part)

    def store(self, layer: int) -> None:
        """Keys and values of `normed`, which go to the cache."""
        self._project(layer, "kv")
        self._rotate_and_store(layer, n_heads=0)

    def _attend(self, layer: int) -> Activation:
        """softmax(q k^T) v; in the last layer of the tokens with outputs."""
        decoder, attended = self._decoder, self._attended
        decoder.begin_attention(layer)
        ops.attend(decoder.tape, self._q, attended, decoder.program.planner, layer)
        if not decoder.is_last(layer):
            return attended
        decoder.keep_outputs()
        kept = ops.new_activation(decoder.tape, attended.columns)
        ops.gather_outputs(decoder.tape, attended.rows, attended.columns, kept)
        return kept

    def _project(self, layer: int, parts: str) -> None:
        """Work out some of queries, keys and values."""
        decoder, weights, shape, prefix = self._decoder, self._decoder.weights, self._shape, f"blk.{layer}"
        outs = {
            "q": (self._q, shape.n_heads),
            "k": (self._k, shape.n_kv_heads),
            "v": (self._v, shape.n_kv_heads),
        }
        projections = []
        for part in parts:
            out, n_heads = outs[part]
            rows = n_heads * shape.head_dim
            matrix = weights.matrix(f"{prefix}.attn_{part}.weight", rows, decoder.hidden_size)
            bias = weights.optional_vector(f"{prefix}.attn_{part}.bias", rows)
            projections.append(ops.Projection(matrix, out, bias))
        ops.matmul(decoder.tape, decoder.normed, *projections)

    def _rotate_and_store(self, layer: int, n_heads: int) -> None:
        """Rotate queries, and keys, which go to the cache with the values."""
        decoder, weights, shape, prefix = self._decoder, self._decoder.weights, self._shape, f"blk.{layer}"
        program = decoder.program
        ops.rotate_and_store(
            decoder.tape,
            self._q,
            self._k,
            self._v,
            n_heads=n_heads,
            shape=program.cache_shape,
            layer=layer,
            n_rotated=program.rotary.n_rotated,
            interleaved=program.rotary.interleaved,
            cosines=program.cosines,
            sines=program.sines,
            q_norm=weights.optional_vector(f"{prefix}.attn_q_norm.weight", shape.head_dim),
            k_norm=weights.optional_vector(f"{prefix}.attn_k_norm.weight", shape.head_dim),
            epsilon=decoder.epsilon,
            scale=1 / math.sqrt(shape.head_dim),
        )
