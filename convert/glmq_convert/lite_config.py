"""config.json of a Glm4MoeLite checkpoint, GLM-4.7-Flash's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from glmq_kernels.errors import GlmqError

from .json_fields import flag, items, shown, whole
from .model_config import check_neutral
from .moe_config import MoeConfig, check_experts, moe_fields
from .rope import parse_rope

MODEL_TYPE = "glm4_moe_lite"

UNDERSTOOD = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "rope_interleave")
"""Keys of latent attention, which other models must not have."""


@dataclass(frozen=True, kw_only=True)
class Glm4MoeLiteConfig(MoeConfig):
    """What conversion needs of a Glm4MoeLite configuration, under the names that transformers uses.

    q_lora_rank: 0 where queries are not compressed. rope_interleave: whether neighbouring dimensions rotate
    together; otherwise those of the first half with those of the second.
    """

    KIND: ClassVar[str] = "Glm4MoeLite"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "vocab_size": 154880, "hidden_size": 2048, "intermediate_size": 10240, "num_hidden_layers": 47,
        "num_attention_heads": 20, "max_position_embeddings": 202752, "first_k_dense_replace": 1,
        "n_routed_experts": 64, "num_experts_per_tok": 4, "n_shared_experts": 1,
        "moe_intermediate_size": 1536, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.8,
        "num_nextn_predict_layers": 1, "rms_norm_eps": 1e-5,
    }  # fmt: skip

    q_lora_rank: int
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    rope_interleave: bool

    @property
    def qk_head_dim(self) -> int:
        """Dimensions of a head's queries and keys."""
        return self.qk_nope_head_dim + self.qk_rope_head_dim


def parse_lite_config(content: Mapping[str, Any]) -> Glm4MoeLiteConfig:
    """A configuration from the content of a config.json; absent keys have the class's defaults.

    Source: transformers' Glm4MoeLiteConfig. Raises GlmqError for what GGUF's `deepseek2` cannot say.
    """
    rope = parse_rope(content, whole(content, "max_position_embeddings", 202752), partial_factor=1.0)
    if rope.partial_factor != 1:
        raise GlmqError("GLM-4.7-Flash rotates whole heads; this model does not")
    if rope.scaling is not None and rope.scaling.type == "linear" and rope.scaling.mscale_all_dim:
        raise GlmqError("mscale_all_dim of rope_type linear cannot be converted; GGUF has it for yarn")
    if flag(content, "attention_bias", False):
        raise GlmqError("attention_bias is true, which GGUF files of GLM-4.7-Flash have no place for")
    shared = moe_fields(Glm4MoeLiteConfig, content, rope)
    compressed = content.get("q_lora_rank", 768) is not None
    config = Glm4MoeLiteConfig(
        **shared | {"first_k_dense_replace": _dense_layers(content, shared)},
        q_lora_rank=whole(content, "q_lora_rank", 768) if compressed else 0,
        kv_lora_rank=whole(content, "kv_lora_rank", 512),
        qk_nope_head_dim=whole(content, "qk_nope_head_dim", 192),
        qk_rope_head_dim=whole(content, "qk_rope_head_dim", 64),
        v_head_dim=whole(content, "v_head_dim", 256),
        rope_interleave=flag(content, "rope_interleave", True),
    )
    if config.qk_rope_head_dim % 2:
        raise GlmqError(f"qk_rope_head_dim is {config.qk_rope_head_dim}; pairs of dimensions rotate")
    check_experts(content, config)
    check_neutral(content, config, UNDERSTOOD)
    return config


def _dense_layers(content: Mapping[str, Any], shared: Mapping[str, Any]) -> int:
    """How many layers at the beginning are dense: by `mlp_layer_types` where the file has them."""
    n_layers = shared["num_hidden_layers"]
    kinds = items(content, "mlp_layer_types")[:n_layers]
    if not kinds:
        return int(shared["first_k_dense_replace"])
    n_dense = kinds.count("dense")
    in_order = ["dense"] * n_dense + ["sparse"] * (len(kinds) - n_dense)
    if len(kinds) != n_layers or kinds != in_order:
        raise GlmqError(
            f"mlp_layer_types is {shown(kinds)}; it must say dense, then sparse, for {n_layers} layers"
        )
    return n_dense
