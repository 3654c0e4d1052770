"""A dense Llama as a GLM-4 MoE that computes the same: a small real model for every part of the MoE path.

Of the neurons of each feed-forward block the first third becomes the shared expert and the rest is cut
into routed experts, each stored twice. The two copies have router rows +r and -r, so for any token one
copy's sigmoid score is above 0.5 by as much as the other's is below: choosing as many experts as there
are pairs takes exactly one copy of each. With normalized weights scaled by the number of pairs, each
weighs 1 up to the tiny r, and the sum is the dense block.

Rows are reordered and columns cut at whole blocks, so the weights keep their quantized bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from glmq_kernels.formats.tensor_types import KERNEL_TYPES

from .config import Glm4MoeConfig

N_SHARED = 4
ROUTER_DEVIATION = 1e-4


class DenseModel(Protocol):
    """The source, such as an open GGUF file with the architecture `llama`."""

    def tensor_type(self, name: str) -> str:
        """Tensor type, such as Q4_1."""

    def rows(self, name: str) -> np.ndarray:
        """uint8 (rows, row bytes)."""


@dataclass(frozen=True)
class DenseShape:
    """The sizes of a dense Llama, under transformers' names."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float

    @property
    def head_dim(self) -> int:
        """Dimensions of an attention head."""
        return self.hidden_size // self.num_attention_heads


@dataclass(frozen=True)
class Cut:
    """Rows of a source tensor in a new order, and the range of columns that is taken."""

    tensor: str
    rows: np.ndarray
    first_column: int
    n_columns: int


def moe_config(shape: DenseShape, n_pairs: int) -> Glm4MoeConfig:
    """The Glm4Moe configuration: `n_pairs` pairs of routed experts, no dense layers, a tied head."""
    width = shape.intermediate_size // (N_SHARED + n_pairs)
    return Glm4MoeConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_hidden_layers,
        num_attention_heads=shape.num_attention_heads,
        num_key_value_heads=shape.num_key_value_heads,
        head_dim=shape.head_dim,
        max_position_embeddings=shape.max_position_embeddings,
        rms_norm_eps=shape.rms_norm_eps,
        rope_theta=shape.rope_theta,
        partial_rotary_factor=1.0,
        attention_bias=False,
        use_qk_norm=False,
        tie_word_embeddings=True,
        first_k_dense_replace=0,
        n_routed_experts=2 * n_pairs,
        num_experts_per_tok=n_pairs,
        n_shared_experts=N_SHARED,
        moe_intermediate_size=width,
        n_group=1,
        topk_group=1,
        routed_scaling_factor=float(n_pairs),
        norm_topk_prob=True,
        num_nextn_predict_layers=0,
    )


class DenseAsMoe(Mapping[str, Cut | np.ndarray]):
    """The Glm4Moe checkpoint that a dense Llama becomes: `Weights` under Hugging Face's names.

    The model in GGUF has the rotary halves of q and k interleaved; here they are apart again.
    """

    def __init__(self, source: DenseModel, shape: DenseShape, config: Glm4MoeConfig) -> None:
        self._source = source
        self._tensors: dict[str, Cut | np.ndarray] = {}
        hidden = shape.hidden_size
        self._add("model.embed_tokens", "token_embd", shape.vocab_size, hidden)
        self._add("model.norm", "output_norm", 1, hidden)
        for i in range(shape.num_hidden_layers):
            layer, block = f"model.layers.{i}.", f"blk.{i}."
            self._add(f"{layer}input_layernorm", f"{block}attn_norm", 1, hidden)
            self._add(f"{layer}post_attention_layernorm", f"{block}ffn_norm", 1, hidden)
            self._add_attention(f"{layer}self_attn.", f"{block}attn_", shape)
            self._add_experts(f"{layer}mlp.", f"{block}ffn_", config, seed=i)

    def __getitem__(self, name: str) -> Cut | np.ndarray:
        return self._tensors[name]

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """Dimensions of a tensor, outermost first."""
        found = self._tensors[name]
        if isinstance(found, np.ndarray):
            return found.shape
        return (found.n_columns,) if "norm" in name else (len(found.rows), found.n_columns)

    def item_bytes(self, name: str) -> int:
        """Bytes of one weight as `read` gives it, at most."""
        return 4

    def source_type(self, name: str) -> str:
        """The tensor type that the dense model has for these weights."""
        found = self._tensors[name]
        return "F32" if isinstance(found, np.ndarray) else self._source.tensor_type(found.tensor)

    def read(self, name: str, first_row: int, n_rows: int, buffer: np.ndarray) -> np.ndarray:
        """float32 (n_rows, columns), or uint8 (n_rows, row bytes) of `source_type`."""
        found = self._tensors[name]
        if isinstance(found, np.ndarray):
            return found.reshape(-1, found.shape[-1])[first_row : first_row + n_rows]
        kind = KERNEL_TYPES[self._source.tensor_type(found.tensor)]
        first = kind.row_bytes(found.first_column)
        last = first + kind.row_bytes(found.n_columns)
        raw = self._source.rows(found.tensor)[found.rows[first_row : first_row + n_rows], first:last]
        return np.ascontiguousarray(raw).view(np.float32) if kind.name == "F32" else raw

    def _add(self, name: str, origin: str, n_rows: int, n_columns: int) -> None:
        self._tensors[f"{name}.weight"] = Cut(f"{origin}.weight", np.arange(n_rows), 0, n_columns)

    def _add_attention(self, name: str, origin: str, shape: DenseShape) -> None:
        hidden, half = shape.hidden_size, shape.head_dim // 2
        heads = {"q": shape.num_attention_heads, "k": shape.num_key_value_heads}
        for part, n_heads in heads.items():
            order = np.arange(n_heads * shape.head_dim).reshape(n_heads, half, 2).swapaxes(1, 2).reshape(-1)
            self._tensors[f"{name}{part}_proj.weight"] = Cut(f"{origin}{part}.weight", order, 0, hidden)
        self._add(f"{name}v_proj", f"{origin}v", shape.num_key_value_heads * shape.head_dim, hidden)
        self._add(f"{name}o_proj", f"{origin}output", hidden, hidden)

    def _add_experts(self, name: str, origin: str, config: Glm4MoeConfig, seed: int) -> None:
        width, n = config.moe_intermediate_size, config.n_routed_experts
        shared = config.n_shared_experts * width
        self._add_neurons(f"{name}shared_experts.", origin, config.hidden_size, 0, shared)
        for expert in range(n):
            first = shared + expert // 2 * width
            self._add_neurons(f"{name}experts.{expert}.", origin, config.hidden_size, first, width)
        rng = np.random.default_rng(seed)
        r = rng.normal(0.0, ROUTER_DEVIATION, (n // 2, 1, config.hidden_size))
        router = np.concatenate([r, -r], axis=1).reshape(n, config.hidden_size).astype(np.float32)
        self._tensors[f"{name}gate.weight"] = router
        self._tensors[f"{name}gate.e_score_correction_bias"] = np.zeros(n, np.float32)

    def _add_neurons(self, name: str, origin: str, hidden_size: int, first: int, n: int) -> None:
        """An expert of `n` neurons: these rows of gate and up, these columns of down."""
        neurons = np.arange(first, first + n)
        for part in ("gate", "up"):
            cut = Cut(f"{origin}{part}.weight", neurons, 0, hidden_size)
            self._tensors[f"{name}{part}_proj.weight"] = cut
        self._tensors[f"{name}down_proj.weight"] = Cut(
            f"{origin}down.weight", np.arange(hidden_size), first, n
        )
