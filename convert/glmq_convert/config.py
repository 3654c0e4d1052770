"""config.json of a Glm4Moe checkpoint, as transformers 4 and 5 write it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glmq_kernels.errors import GlmqError

from .json_fields import errors_in, flag, number, read_object, shown, table, text, whole
from .rope import RopeScaling, parse_rope

REFUSED_TYPES = {
    "glm4_moe_lite": "GLM-4.7-Flash has another architecture (latent attention): not converted yet",
    "glm4v_moe": "GLM-4.5V reads images, which glmq does not; convert a text model",
    "glm_moe_dsa": "GLM-5 has another architecture (sparse attention): not converted",
}


NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(
        (
            "mlp_bias", "use_bias", "use_sliding_window", "rope_interleave", "use_parallel_residual",
            "parallel_attn", "use_gate", "shared_expert_gate", "use_attention_sinks",
            "add_swa_attention_sink_bias",
            "add_full_attention_sink_bias", "attn_logit_softcapping", "final_logit_softcapping",
            "router_logit_softcapping", "logit_softcapping", "softcap", "q_lora_rank", "kv_lora_rank",
            "qk_nope_head_dim", "qk_rope_head_dim", "index_n_heads", "index_topk", "index_head_dim",
            "clip_qkv", "qkv_clip", "alibi", "swiglu_limit", "num_kv_shared_layers", "vision_config",
            "audio_config", "text_config", "is_encoder_decoder", "per_layer_config", "lm_head_bias",
            "zero_expert_num", "engram_config",
        ),
        (False, 0),
    ),
    **dict.fromkeys(
        (
            "moe_layer_freq", "decoder_sparse_step", "interleave_moe_layer_step", "logit_scale",
            "logits_scaling",
            "embedding_multiplier", "residual_multiplier", "embedding_scale", "scale_depth", "scale_emb",
            "lm_head_multiplier",
        ),
        (1,),
    ),
    "hidden_act": ("silu", "swish"),
    "hidden_activation": ("silu", "swish"),
    "scoring_func": ("sigmoid",),
    "topk_method": ("noaux_tc",),
    "is_causal": (True,),
    "is_decoder": (True, False),
    "position_embedding_type": ("rope",),
    "mlp_only_layers": ([],),
}  # fmt: skip
"""Keys that would change what a model computes and have no place in Glm4Moe, with values that change nothing.

So does null. Keys that are neither here nor in Glm4MoeConfig are of no effect there.
"""


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
    rope_scaling: RopeScaling | None = None

    @property
    def rotary_dim(self) -> int:
        """Dimensions of a head that are rotated by position."""
        return int(self.head_dim * self.partial_rotary_factor)


def read_config(folder: Path) -> Glm4MoeConfig:
    """The configuration of the checkpoint in `folder`. Raises GlmqError when it is not a Glm4Moe's."""
    if not (folder / "config.json").is_file():
        raise GlmqError(f"{folder} holds no config.json; give the folder of a Hugging Face checkpoint")
    content = read_object(folder / "config.json")
    with errors_in(folder / "config.json"):
        return parse_config(content)


def parse_config(content: Mapping[str, Any]) -> Glm4MoeConfig:
    """A configuration from the content of a config.json; absent keys have the class's defaults.

    Source: transformers' Glm4MoeConfig. Version 5 keeps rope_theta and partial_rotary_factor inside
    `rope_parameters`; version 4 has them at the top.
    """
    _check_kind(content)
    hidden_size = whole(content, "hidden_size", 4096)
    heads = whole(content, "num_attention_heads", 96)
    max_positions = whole(content, "max_position_embeddings", 131072)
    rope = parse_rope(content, max_positions)
    has_head_dim = content.get("head_dim") is not None
    config = Glm4MoeConfig(
        vocab_size=whole(content, "vocab_size", 151552),
        hidden_size=hidden_size,
        intermediate_size=whole(content, "intermediate_size", 10944),
        num_hidden_layers=whole(content, "num_hidden_layers", 46),
        num_attention_heads=heads,
        num_key_value_heads=whole(content, "num_key_value_heads", 8),
        head_dim=whole(content, "head_dim", 0) if has_head_dim else hidden_size // heads,
        max_position_embeddings=max_positions,
        rms_norm_eps=number(content, "rms_norm_eps", 1e-5),
        rope_theta=rope.theta,
        partial_rotary_factor=rope.partial_factor,
        attention_bias=flag(content, "attention_bias", False),
        use_qk_norm=flag(content, "use_qk_norm", False),
        tie_word_embeddings=flag(content, "tie_word_embeddings", False),
        first_k_dense_replace=whole(content, "first_k_dense_replace", 1, least=0),
        n_routed_experts=_aliased(content, "n_routed_experts", "num_local_experts", 128, least=1),
        num_experts_per_tok=whole(content, "num_experts_per_tok", 8),
        n_shared_experts=whole(content, "n_shared_experts", 1, least=0),
        moe_intermediate_size=whole(content, "moe_intermediate_size", 1408),
        n_group=whole(content, "n_group", 1),
        topk_group=whole(content, "topk_group", 1),
        routed_scaling_factor=number(content, "routed_scaling_factor", 1.0),
        norm_topk_prob=flag(content, "norm_topk_prob", True),
        num_nextn_predict_layers=_aliased(content, "num_nextn_predict_layers", "num_mtp_layers", 1, least=0),
        rope_scaling=rope.scaling,
    )
    _check_sizes(config)
    _check_neutral(content, config)
    return config


def read_quantization(folder: Path) -> str | None:
    """How config.json says that the weights are quantized, or None."""
    with errors_in(folder / "config.json"):
        quantization = table(read_object(folder / "config.json"), "quantization_config")
        return text(quantization, "quant_method", "quantized") if quantization else None


def _aliased(content: Mapping[str, Any], key: str, alias: str, default: int, least: int) -> int:
    """A whole number under either of two names, the first being preferred."""
    return whole(content, key if key in content else alias, default, least)


def _check_kind(content: Mapping[str, Any]) -> None:
    kind = text(content, "model_type")
    if kind in REFUSED_TYPES:
        raise GlmqError(REFUSED_TYPES[kind])
    if kind != "glm4_moe":
        raise GlmqError(f"model_type is {shown(kind)}; glmq converts 'glm4_moe' (GLM-4.5, 4.6 and 4.7)")


def _check_neutral(content: Mapping[str, Any], config: Glm4MoeConfig) -> None:
    """Refuse keys that would change what the model computes and that the GGUF file could not say."""
    for key, neutral in NEUTRAL.items():
        value = content.get(key)
        if value is not None and value not in neutral:
            raise GlmqError(f"{key} is {shown(value)}, which Glm4Moe models do not have")
    window = content.get("sliding_window")
    if window and whole(content, "sliding_window", 0) < config.max_position_embeddings:
        raise GlmqError(f"sliding_window is {window}, which Glm4Moe models do not have")
    layers = content.get("layer_types")
    if layers is not None and (
        not isinstance(layers, list) or any(kind != "full_attention" for kind in layers)
    ):
        raise GlmqError(f"layer_types is {shown(layers)}; it must be a list of 'full_attention'")
    width = content.get("shared_expert_intermediate_size")
    if width not in (None, config.moe_intermediate_size * config.n_shared_experts):
        raise GlmqError(
            f"shared_expert_intermediate_size is {shown(width)}; Glm4Moe's is moe_intermediate_size times"
            " n_shared_experts"
        )


def _check_sizes(config: Glm4MoeConfig) -> None:
    c = config
    if c.num_attention_heads % c.num_key_value_heads:
        raise GlmqError(
            f"{c.num_attention_heads} attention heads do not divide among"
            f" {c.num_key_value_heads} key/value heads"
        )
    if c.n_routed_experts % c.n_group or c.topk_group > c.n_group:
        raise GlmqError(
            f"{c.n_routed_experts} experts in {c.n_group} groups, {c.topk_group} used: impossible"
        )
    if c.num_experts_per_tok > c.n_routed_experts // c.n_group * c.topk_group:
        raise GlmqError(f"num_experts_per_tok is {c.num_experts_per_tok}, more than there are experts")
    if not 0 < c.rotary_dim <= c.head_dim or c.rotary_dim % 2:
        raise GlmqError(
            f"partial_rotary_factor {c.partial_rotary_factor} of head_dim {c.head_dim} is not usable"
        )
