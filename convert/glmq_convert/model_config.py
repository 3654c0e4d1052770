"""What the configurations of all checkpoints have in common."""

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
class ModelConfig:
    """What conversion needs of a configuration whatever the model, under the names of transformers.

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
    num_nextn_predict_layers: int = 0
    rope_scaling: RopeScaling | None = None


def common_fields(kind: type[ModelConfig], content: Mapping[str, Any], rope: Rope) -> dict[str, Any]:
    """The fields of `ModelConfig` from the content of a config.json; absent keys have the kind's defaults."""
    sizes = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "max_position_embeddings",
    )  # fmt: skip
    return {
        **{name: whole(content, name, kind.DEFAULTS[name]) for name in sizes},
        "rms_norm_eps": number(content, "rms_norm_eps", kind.DEFAULTS["rms_norm_eps"]),
        "tie_word_embeddings": flag(content, "tie_word_embeddings", False),
        "rope_theta": rope.theta,
        "rope_scaling": rope.scaling,
    }


def check_neutral(content: Mapping[str, Any], config: ModelConfig, understood: Collection[str] = ()) -> None:
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
