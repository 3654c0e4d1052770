"""What the configurations of GLM's mixture-of-experts checkpoints have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from glmq_kernels.errors import GlmqError

from .json_fields import flag, number, shown, whole
from .rope import Rope, RopeScaling

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
"""Keys that would change what a model computes, with values that change nothing.

So does null. Keys that are neither here nor in the model's configuration are of no effect there.
"""


@dataclass(frozen=True, kw_only=True)
class MoeConfig:
    """What conversion needs of a configuration whatever its attention, under the names of transformers.

    `num_nextn_predict_layers` is what the file says, whether or not the tensors are there.
    """

    KIND: ClassVar[str]
    DEFAULTS: ClassVar[Mapping[str, Any]]

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    rms_norm_eps: float
    rope_theta: float
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


LEAST = {"first_k_dense_replace": 0, "n_shared_experts": 0}
"""Where it is not 1."""


def shared_fields(kind: type[MoeConfig], content: Mapping[str, Any], rope: Rope) -> dict[str, Any]:
    """The fields of `MoeConfig` from the content of a config.json; absent keys have the kind's defaults."""
    sizes = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "max_position_embeddings", "first_k_dense_replace", "num_experts_per_tok", "n_shared_experts",
        "moe_intermediate_size", "n_group", "topk_group",
    )  # fmt: skip
    defaults = kind.DEFAULTS
    return {
        **{name: whole(content, name, defaults[name], least=LEAST.get(name, 1)) for name in sizes},
        "n_routed_experts": _aliased(content, "n_routed_experts", "num_local_experts", defaults, least=1),
        "num_nextn_predict_layers": _aliased(
            content, "num_nextn_predict_layers", "num_mtp_layers", defaults, least=0
        ),
        "rms_norm_eps": number(content, "rms_norm_eps", 1e-5),
        "routed_scaling_factor": number(content, "routed_scaling_factor", defaults["routed_scaling_factor"]),
        "norm_topk_prob": flag(content, "norm_topk_prob", True),
        "tie_word_embeddings": flag(content, "tie_word_embeddings", False),
        "rope_theta": rope.theta,
        "rope_scaling": rope.scaling,
    }


def _aliased(
    content: Mapping[str, Any], key: str, alias: str, defaults: Mapping[str, Any], least: int
) -> int:
    """A whole number under either of two names, the first being preferred."""
    return whole(content, key if key in content else alias, defaults[key], least)


def check_neutral(content: Mapping[str, Any], config: MoeConfig, understood: Collection[str] = ()) -> None:
    """Refuse keys that would change what the model computes and that the GGUF file could not say.

    understood: keys that have a place in the model's configuration.
    """
    for key, neutral in NEUTRAL.items():
        value = content.get(key)
        if key not in understood and value is not None and value not in neutral:
            raise GlmqError(f"{key} is {shown(value)}, which {config.KIND} models do not have")
    window = content.get("sliding_window")
    if window and whole(content, "sliding_window", 0) < config.max_position_embeddings:
        raise GlmqError(f"sliding_window is {window}, which {config.KIND} models do not have")
    layers = content.get("layer_types")
    if layers is not None and (
        not isinstance(layers, list) or any(kind != "full_attention" for kind in layers)
    ):
        raise GlmqError(f"layer_types is {shown(layers)}; it must be a list of 'full_attention'")
    width = content.get("shared_expert_intermediate_size")
    if width not in (None, config.moe_intermediate_size * config.n_shared_experts):
        raise GlmqError(
            f"shared_expert_intermediate_size is {shown(width)}; it must be moe_intermediate_size times"
            " n_shared_experts"
        )


def check_experts(config: MoeConfig) -> None:
    """Refuse numbers of experts that do not fit together."""
    c = config
    if c.n_routed_experts % c.n_group or c.topk_group > c.n_group:
        raise GlmqError(
            f"{c.n_routed_experts} experts in {c.n_group} groups, {c.topk_group} used: impossible"
        )
    if c.num_experts_per_tok > c.n_routed_experts // c.n_group * c.topk_group:
        raise GlmqError(f"num_experts_per_tok is {c.num_experts_per_tok}, more than there are experts")
