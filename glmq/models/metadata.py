"""Metadata keys that change what a model computes: each is understood, switched off, or refused by name.

The names are those of the GGUF specification (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md) as
the `gguf` package and llama.cpp (src/llama-arch.cpp) have them, without the architecture that stands before
each. Keys of no list are a file's own remarks, and are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from glmq_kernels.errors import GlmqError

from ..gguf import GGUFFile, StringArray

SIZES = frozenset(
    (
        "block_count", "context_length", "embedding_length", "feed_forward_length",
        "attention.head_count", "attention.head_count_kv", "attention.key_length", "attention.value_length",
        "attention.layer_norm_rms_epsilon",
    )
)  # fmt: skip
"""Keys that every decoder here reads."""

ROPE = frozenset(
    (
        "rope.dimension_count", "rope.freq_base", "rope.scale_linear", "rope.scaling.type",
        "rope.scaling.factor", "rope.scaling.attn_factor", "rope.scaling.original_context_length",
        "rope.scaling.yarn_attn_factor", "rope.scaling.yarn_beta_fast", "rope.scaling.yarn_beta_slow",
    )
)  # fmt: skip
"""Keys that `rotary.py` reads."""

EXPERTS = frozenset(
    (
        "leading_dense_block_count", "expert_count", "expert_used_count", "expert_shared_count",
        "expert_feed_forward_length", "expert_shared_feed_forward_length", "expert_group_count",
        "expert_group_used_count", "expert_weights_scale", "expert_weights_norm", "expert_gating_func",
    )
)  # fmt: skip
"""Keys that an architecture with routed experts reads."""

NO_EFFECT = frozenset(
    (
        "vocab_size",  # the embedding has as many rows as it has
        "rope.scaling.finetuned",
        "attention.layer_norm_epsilon", "attention.group_norm_epsilon",  # of other kinds of norms
        # Of a sliding window, which is refused itself.
        "attention.sliding_window_pattern", "attention.key_length_swa", "attention.value_length_swa",
        "rope.dimension_count_swa", "rope.freq_base_swa",
    )
)  # fmt: skip
"""Keys of the specification that change nothing in the architectures here."""

OTHER_KINDS = ("adapter.", "clip.", "diffusion.", "xielu.")
"""Beginnings of keys, outside the architecture's own, of what is no plain language model."""

OFF: tuple[Any, ...] = (0, "", "none")
"""Values that switch a thing off; so does an array of nothing else."""

NEUTRAL: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(EXPERTS, OFF),
    **dict.fromkeys(
        (
            "nextn_predict_layers", "embedding_length_out", "features_length",
            "embedding_length_per_layer_input",
            "expert_chunk_feed_forward_length", "experts_per_group", "moe_latent_size", "n_deepstack_layers",
            "deepstack_mapping", "use_parallel_residual", "decoder_block_count",
            "attn_logit_softcapping", "router_logit_softcapping", "final_logit_softcapping",
            "swin_norm", "rescale_every_n_layers", "time_mix_extra_dim", "time_decay_extra_dim",
            "token_shift_count", "activation_sparsity_scale", "altup.active_idx", "altup.num_inputs",
            "swiglu_clamp_exp", "swiglu_clamp_shexp", "hash_layer_count", "norm_before_residual",
            "target_layers", "target_hidden_size", "dense_2_feat_in", "dense_2_feat_out", "dense_3_feat_in",
            "dense_3_feat_out", "attention.max_alibi_bias", "attention.clamp_kqv", "attention.q_lora_rank",
            "attention.kv_lora_rank", "attention.decay_lora_rank", "attention.iclr_lora_rank",
            "attention.value_residual_mix_lora_rank", "attention.gate_lora_rank",
            "attention.relative_buckets_count", "attention.group_norm_groups", "attention.sliding_window",
            "attention.scale", "attention.temperature_length", "attention.temperature_scale",
            "attention.key_length_mla", "attention.value_length_mla", "attention.shared_kv_layers",
            "attention.logit_softcapping", "attention.gate_per_head", "attention.output_group_count",
            "attention.output_lora_rank", "attention.compress_rope_freq_base", "attention.compress_ratios",
            "attention.recurrent_layers", "attention.indexer.head_count", "attention.indexer.key_length",
            "attention.indexer.top_k", "hyper_connection.count", "hyper_connection.sinkhorn_iterations",
            "hyper_connection.epsilon", "rope.dimension_sections", "rope.scaling.yarn_log_multiplier",
            "ssm.conv_kernel", "ssm.inner_size", "ssm.state_size", "ssm.time_step_rank", "ssm.group_count",
            "ssm.dt_b_c_rms", "kda.head_dim", "wkv.head_size", "posnet.embedding_length",
            "posnet.block_count", "convnext.embedding_length", "convnext.block_count",
            "classifier.output_labels", "shortconv.l_cache",
        ),
        OFF,
    ),
    **dict.fromkeys(
        (
            "logit_scale", "residual_scale", "embedding_scale", "expert_group_scale", "moe_every_n_layers",
            "interleave_moe_layer_step", "full_attention_interval", "attention.output_scale",
            "attention.value_scale", "rope.scaling.alpha",
        ),
        (0, 1),
    ),
    "expert_group_count": (0, 1),
    "expert_group_used_count": (0, 1),
    "expert_weights_scale": (0, 1),
    "attention.causal": (True,),
    "rope.scaling.yarn_ext_factor": (1, -1),
    "pooling_type": (0, -1),
    "decoder_start_token_id": (-1,),
    "hidden_activation": ("silu", "swiglu"),
    "tensor_data_layout": ("reference",),
}  # fmt: skip
"""Values with which a key that is not understood changes nothing."""


def check_metadata(
    file: GGUFFile,
    understood: frozenset[str],
    head_dim: int,
    neutral: Mapping[str, tuple[Any, ...]] | None = None,
) -> None:
    """Refuse a file with a key that would change its computations in a way that is not understood.

    understood: keys that the architecture's module reads. head_dim: of queries and keys. neutral: values
    with which a key changes nothing in this architecture, besides those of `NEUTRAL`.
    """
    architecture = file.text("general.architecture")
    of_file = {**(neutral or {}), **_neutral_here(file, architecture, head_dim)}
    for key, value in file.metadata.items():
        name = key.removeprefix(f"{architecture}.")
        if name == key:
            refused = key.startswith(OTHER_KINDS)
        elif name in understood or name not in NEUTRAL:
            refused = False
        else:
            refused = not _is_one_of(value, (*NEUTRAL[name], *of_file.get(name, ())))
        if refused:
            raise GlmqError(
                f"{file.path}: {key} is {_shown(value)}, which glmq does not compute;"
                " choose a file of a GLM-4.5, 4.6 or 4.7 model without it"
            )


def _neutral_here(file: GGUFFile, architecture: str, head_dim: int) -> Mapping[str, tuple[Any, ...]]:
    """Values that say what holds without them."""
    window = file.metadata.get(f"{architecture}.attention.sliding_window")
    is_wide = isinstance(window, int) and window >= file.integer(f"{architecture}.context_length", 1 << 31)
    width = file.metadata.get(f"{architecture}.embedding_length")
    return {
        "attention.scale": (head_dim**-0.5,),
        "attention.sliding_window": (window,) if is_wide else (),
        "embedding_length_out": (width,),
    }


def _is_one_of(value: Any, neutral: tuple[Any, ...]) -> bool:
    """Whether a value, or every entry of an array, is among others; numbers as float32 has them."""
    if isinstance(value, (np.ndarray, StringArray)):
        return (
            all(_is_one_of(entry, neutral) for entry in value[:LONGEST_ARRAY]) and len(value) <= LONGEST_ARRAY
        )
    if isinstance(value, str):
        return value.lower() in neutral
    with np.errstate(over="ignore"):
        return any(not isinstance(other, str) and np.float32(value) == np.float32(other) for other in neutral)


LONGEST_ARRAY = 4096
"""Entries of an array that is looked through: more than any model has layers."""


def _shown(value: Any) -> str:
    if isinstance(value, (np.ndarray, StringArray)):
        return f"[{', '.join(str(entry) for entry in value[:4])}{', …' * (len(value) > 4)}]"
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
