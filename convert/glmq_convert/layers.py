"""What all models here have in common: sizes, embedding and head, and what layers have around attention."""

from __future__ import annotations

from collections.abc import Callable

import gguf

from .experts import plan_experts, plan_feed_forward, plan_mtp
from .model_config import ModelConfig
from .moe_config import MoeConfig
from .rope import RopeScaling, yarn_amplitude
from .tensor_plan import TensorPlan

PlanAttention = Callable[[str, str], None]
"""Plans a layer's attention: beginnings of names in the file (`blk.0.`), and in the checkpoint."""


def add_sizes(writer: gguf.GGUFWriter, config: ModelConfig, n_mtp_layers: int) -> None:
    """Write the sizes that every model has."""
    writer.add_block_count(config.num_hidden_layers + n_mtp_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)


def add_rope_scaling(writer: gguf.GGUFWriter, scaling: RopeScaling, *, of_scores: float = 0.0) -> None:
    """Write how positions are stretched, linearly or by YaRN.

    of_scores: the `mscale_all_dim` of models whose attention has it; a file holds a tenth, as llama.cpp's do.
    """
    writer.add_rope_scaling_type(gguf.RopeScalingType(scaling.type))
    writer.add_rope_scaling_factor(scaling.factor)
    if scaling.type == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling.original_context)
        # A file's attn_factor comes on top of what YaRN itself multiplies by: nothing where scores have it.
        own = 1.0 if of_scores else yarn_amplitude(scaling.factor)
        writer.add_rope_scaling_attn_factors(scaling.attention_factor / own)
        if of_scores:
            writer.add_rope_scaling_yarn_log_mul(0.1 * of_scores)
        writer.add_rope_scaling_yarn_beta_fast(scaling.beta_fast)
        writer.add_rope_scaling_yarn_beta_slow(scaling.beta_slow)


def plan_layers(
    plan: TensorPlan, config: ModelConfig, plan_attention: PlanAttention, norm: str, n_mtp_layers: int
) -> None:
    """Every tensor of the file, in order. norm: the name of the one before the feed-forward."""
    c = config
    plan.add("token_embd.weight", "model.embed_tokens.weight", c.vocab_size, c.hidden_size)
    plan.add("output_norm.weight", "model.norm.weight", c.hidden_size)
    if not c.tie_word_embeddings:
        plan.add("output.weight", "lm_head.weight", c.vocab_size, c.hidden_size)
    for i in range(c.num_hidden_layers + n_mtp_layers):
        block, source = f"blk.{i}.", f"model.layers.{i}."
        plan.add(f"{block}attn_norm.weight", f"{source}input_layernorm.weight", c.hidden_size)
        plan_attention(block, f"{source}self_attn.")
        plan.add(f"{block}{norm}.weight", f"{source}post_attention_layernorm.weight", c.hidden_size)
        if isinstance(c, MoeConfig) and i >= c.first_k_dense_replace:
            plan_experts(plan, c, block, f"{source}mlp.")
        else:
            plan_feed_forward(plan, block, "", f"{source}mlp.", c.intermediate_size, c.hidden_size)
        if i >= c.num_hidden_layers:
            plan_mtp(plan, c, i)
    plan.check(n_mtp_layers)
