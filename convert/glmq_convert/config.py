"""config.json of a checkpoint, as transformers 4 and 5 write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from glmq_kernels.errors import GlmqError

from .json_fields import errors_in, flag, read_object, shown, text, whole
from .lite_config import MODEL_TYPE as LITE
from .lite_config import Glm4MoeLiteConfig, parse_lite_config
from .llama_config import MODEL_TYPE as LLAMA
from .llama_config import LlamaConfig, parse_llama_config
from .model_config import check_neutral
from .moe_config import MoeConfig, check_experts, moe_fields
from .rope import parse_rope

REFUSED_TYPES = {
    "glm4v_moe": "GLM-4.5V reads images, which glmq does not; convert a text model",
    "glm_moe_dsa": "GLM-5 has another architecture (sparse attention): not converted",
}


@dataclass(frozen=True, kw_only=True)
class Glm4MoeConfig(MoeConfig):
    """What conversion needs of a Glm4Moe configuration, under the names that transformers uses."""

    KIND: ClassVar[str] = "Glm4Moe"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "vocab_size": 151552, "hidden_size": 4096, "intermediate_size": 10944, "num_hidden_layers": 46,
        "num_attention_heads": 96, "max_position_embeddings": 131072, "first_k_dense_replace": 1,
        "n_routed_experts": 128, "num_experts_per_tok": 8, "n_shared_experts": 1,
        "moe_intermediate_size": 1408, "n_group": 1, "topk_group": 1, "routed_scaling_factor": 1.0,
        "num_nextn_predict_layers": 1, "rms_norm_eps": 1e-5,
    }  # fmt: skip

    num_key_value_heads: int
    head_dim: int
    partial_rotary_factor: float
    attention_bias: bool
    use_qk_norm: bool

    @property
    def rotary_dim(self) -> int:
        """Dimensions of a head that are rotated by position."""
        return int(self.head_dim * self.partial_rotary_factor)


def read_config(folder: Path) -> Glm4MoeConfig | Glm4MoeLiteConfig | LlamaConfig:
    """The configuration of the checkpoint in `folder`. Raises GlmqError when it is of no model converted."""
    if not (folder / "config.json").is_file():
        raise GlmqError(f"{folder} holds no config.json; give the folder of a Hugging Face checkpoint")
    content = read_object(folder / "config.json")
    with errors_in(folder / "config.json"):
        kind = text(content, "model_type")
        if kind == LITE:
            return parse_lite_config(content)
        if kind == LLAMA:
            return parse_llama_config(content)
        return parse_config(content)


def parse_config(content: Mapping[str, Any]) -> Glm4MoeConfig:
    """A Glm4Moe configuration from the content of a config.json; absent keys have the class's defaults.

    Source: transformers' Glm4MoeConfig. Version 5 keeps rope_theta and partial_rotary_factor inside
    `rope_parameters`; version 4 has them at the top.
    """
    _check_kind(content)
    rope = parse_rope(content, whole(content, "max_position_embeddings", 131072))
    shared = moe_fields(Glm4MoeConfig, content, rope)
    has_head_dim = content.get("head_dim") is not None
    computed = shared["hidden_size"] // shared["num_attention_heads"]
    config = Glm4MoeConfig(
        **shared,
        num_key_value_heads=whole(content, "num_key_value_heads", 8),
        head_dim=whole(content, "head_dim", 0) if has_head_dim else computed,
        partial_rotary_factor=rope.partial_factor,
        attention_bias=flag(content, "attention_bias", False),
        use_qk_norm=flag(content, "use_qk_norm", False),
    )
    _check_sizes(content, config)
    check_neutral(content, config)
    return config


def _check_kind(content: Mapping[str, Any]) -> None:
    kind = text(content, "model_type")
    if kind in REFUSED_TYPES:
        raise GlmqError(REFUSED_TYPES[kind])
    if kind != "glm4_moe":
        raise GlmqError(
            f"model_type is {shown(kind)}; glmq converts 'glm4_moe' (GLM-4.5, 4.6 and 4.7), {LITE!r}"
            f" (GLM-4.7-Flash) and {LLAMA!r}"
        )


def _check_sizes(content: Mapping[str, Any], config: Glm4MoeConfig) -> None:
    c = config
    if c.num_attention_heads % c.num_key_value_heads:
        raise GlmqError(
            f"{c.num_attention_heads} attention heads do not divide among"
            f" {c.num_key_value_heads} key/value heads"
        )
    check_experts(content, c)
    if not 0 < c.rotary_dim <= c.head_dim or c.rotary_dim % 2:
        raise GlmqError(
            f"partial_rotary_factor {c.partial_rotary_factor} of head_dim {c.head_dim} is not usable"
        )
