"""config.json of a Glm4Moe checkpoint, as transformers 4 and 5 write it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glmq_kernels.errors import UserError

REFUSED_TYPES = {
    "glm4_moe_lite": "GLM-4.7-Flash has another architecture (latent attention): not converted yet",
    "glm4v_moe": "GLM-4.5V reads images, which glmq does not; convert a text model",
    "glm_moe_dsa": "GLM-5 has another architecture (sparse attention): not converted",
}


@dataclass(frozen=True)
class Glm4MoeConfig:
    """What conversion needs of a Glm4Moe configuration, under the names that transformers uses.

    `num_nextn_predict_layers` is what the file says, whether or not the tensors are there.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
    partial_rotary_factor: float
    attention_bias: bool
    use_qk_norm: bool
    tie_word_embeddings: bool
    first_k_dense_replace: int
    n_routed_experts: int
    num_experts_per_tok: int
    n_shared_experts: int
    moe_intermediate_size: int
    n_group: int
    topk_group: int
    routed_scaling_factor: float
    norm_topk_prob: bool
    num_nextn_predict_layers: int

    @property
    def rotary_dim(self) -> int:
        """Dimensions of a head that are rotated by position."""
        return int(self.head_dim * self.partial_rotary_factor)


def read_config(folder: Path) -> Glm4MoeConfig:
    """The configuration of the checkpoint in `folder`. Raises UserError when it is not a Glm4Moe's."""
    path = folder / "config.json"
    if not path.is_file():
        raise UserError(f"{folder} holds no config.json; give the folder of a Hugging Face checkpoint")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); download it again") from None
    if not isinstance(content, dict):
        raise UserError(f"{path} does not hold a JSON object; download it again")
    try:
        return parse_config(content)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def parse_config(content: Mapping[str, Any]) -> Glm4MoeConfig:
    """A configuration from the content of a config.json; absent keys have the class's defaults.

    Source: transformers' Glm4MoeConfig. Version 5 keeps rope_theta and partial_rotary_factor inside
    `rope_parameters`; version 4 has them at the top.
    """
    _check_kind(content)
    rope = content.get("rope_parameters") or {}
    _check_rope(rope or content.get("rope_scaling") or {})
    hidden_size = _whole(content, "hidden_size", 4096)
    heads = _whole(content, "num_attention_heads", 96)
    predict = "num_nextn_predict_layers" if "num_nextn_predict_layers" in content else "num_mtp_layers"
    config = Glm4MoeConfig(
        vocab_size=_whole(content, "vocab_size", 151552),
        hidden_size=hidden_size,
        intermediate_size=_whole(content, "intermediate_size", 10944),
        num_hidden_layers=_whole(content, "num_hidden_layers", 46),
        num_attention_heads=heads,
        num_key_value_heads=_whole(content, "num_key_value_heads", 8),
        head_dim=_whole(content, "head_dim", hidden_size // heads),
        max_position_embeddings=_whole(content, "max_position_embeddings", 131072),
        rms_norm_eps=_number(content, "rms_norm_eps", 1e-5),
        rope_theta=_number({**content, **rope}, "rope_theta", 10000.0),
        partial_rotary_factor=_number({**content, **rope}, "partial_rotary_factor", 0.5),
        attention_bias=_flag(content, "attention_bias", False),
        use_qk_norm=_flag(content, "use_qk_norm", False),
        tie_word_embeddings=_flag(content, "tie_word_embeddings", False),
        first_k_dense_replace=_whole(content, "first_k_dense_replace", 1, least=0),
        n_routed_experts=_whole(content, "n_routed_experts", 128),
        num_experts_per_tok=_whole(content, "num_experts_per_tok", 8),
        n_shared_experts=_whole(content, "n_shared_experts", 1, least=0),
        moe_intermediate_size=_whole(content, "moe_intermediate_size", 1408),
        n_group=_whole(content, "n_group", 1),
        topk_group=_whole(content, "topk_group", 1),
        routed_scaling_factor=_number(content, "routed_scaling_factor", 1.0),
        norm_topk_prob=_flag(content, "norm_topk_prob", True),
        num_nextn_predict_layers=_whole(content, predict, 1, least=0),
    )
    _check_sizes(config)
    return config


def _check_kind(content: Mapping[str, Any]) -> None:
    kind = content.get("model_type")
    if kind in REFUSED_TYPES:
        raise UserError(REFUSED_TYPES[kind])
    if kind != "glm4_moe":
        raise UserError(f"model_type is {kind!r}; glmq converts 'glm4_moe' (GLM-4.5, 4.6 and 4.7)")
    if content.get("hidden_act", "silu") != "silu":
        raise UserError(f"hidden_act is {content['hidden_act']!r}; Glm4Moe models use 'silu'")
    if content.get("quantization_config"):
        method = content["quantization_config"].get("quant_method", "quantized")
        raise UserError(f"the weights are stored as {method}; download the BF16 checkpoint instead")


def _check_rope(rope: Mapping[str, Any]) -> None:
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind not in ("default", None):
        raise UserError(f"rope_type {kind!r} is not supported; remove the rope scaling from config.json")


def _check_sizes(config: Glm4MoeConfig) -> None:
    c = config
    if c.num_attention_heads % c.num_key_value_heads:
        raise UserError(
            f"{c.num_attention_heads} attention heads do not divide among"
            f" {c.num_key_value_heads} key/value heads"
        )
    if c.n_routed_experts % c.n_group or c.topk_group > c.n_group:
        raise UserError(
            f"{c.n_routed_experts} experts in {c.n_group} groups, {c.topk_group} used: impossible"
        )
    if c.num_experts_per_tok > c.n_routed_experts // c.n_group * c.topk_group:
        raise UserError(f"num_experts_per_tok is {c.num_experts_per_tok}, more than there are experts")
    if not 0 < c.rotary_dim <= c.head_dim or c.rotary_dim % 2:
        raise UserError(
            f"partial_rotary_factor {c.partial_rotary_factor} of head_dim {c.head_dim} is not usable"
        )


def _whole(content: Mapping[str, Any], key: str, default: int, least: int = 1) -> int:
    value = content.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
        raise UserError(f"{key} is {value!r}; it must be a whole number from {least} up")
    return value


def _number(content: Mapping[str, Any], key: str, default: float) -> float:
    value = content.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e30:
        raise UserError(f"{key} is {value!r}; it must be a number from 0 up")
    return float(value)


def _flag(content: Mapping[str, Any], key: str, default: bool) -> bool:
    value = content.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        raise UserError(f"{key} is {value!r}; it must be true or false")
    return value
