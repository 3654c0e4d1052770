"""Glm4Moe in GGUF terms: metadata, and every tensor's name, shape and origin.

Names and meanings follow llama.cpp's architecture `glm4moe`.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import gguf

from .config import Glm4MoeConfig
from .experts import add_expert_metadata
from .layers import add_rope_scaling, add_sizes, plan_layers
from .plan import PlannedTensor, Weights
from .tensor_plan import TensorPlan

ARCHITECTURE = "glm4moe"


def add_metadata(writer: gguf.GGUFWriter, config: Glm4MoeConfig, n_mtp_layers: int) -> None:
    """Write the architecture's own metadata (`glm4moe.*`)."""
    c = config
    add_sizes(writer, c, n_mtp_layers)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_key_length(c.head_dim)
    writer.add_value_length(c.head_dim)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_rope_dimension_count(c.rotary_dim)
    if c.rope_scaling:
        add_rope_scaling(writer, c.rope_scaling)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    add_expert_metadata(writer, c, n_mtp_layers)


def plan_tensors(
    config: Glm4MoeConfig, weights: Weights, names: Collection[str], n_mtp_layers: int
) -> list[PlannedTensor]:
    """Every tensor of the file, in order. Raises GlmqError naming what is missing, extra or misshapen.

    weights: the checkpoint; names: of its tensors.
    """
    plan = TensorPlan(config, weights, names)
    attention = partial(_plan_attention, plan, config)
    plan_layers(plan, config, attention, "post_attention_norm", n_mtp_layers)
    return plan.tensors


def _plan_attention(plan: TensorPlan, c: Glm4MoeConfig, block: str, source: str) -> None:
    heads = {"q": c.num_attention_heads, "k": c.num_key_value_heads, "v": c.num_key_value_heads}
    for part, n_heads in heads.items():
        n = n_heads * c.head_dim
        plan.add(f"{block}attn_{part}.weight", f"{source}{part}_proj.weight", n, c.hidden_size)
        if c.attention_bias:
            plan.add(f"{block}attn_{part}.bias", f"{source}{part}_proj.bias", n)
    if c.use_qk_norm:
        for part in ("q", "k"):
            plan.add(f"{block}attn_{part}_norm.weight", f"{source}{part}_norm.weight", c.head_dim)
    width = c.num_attention_heads * c.head_dim
    plan.add(f"{block}attn_output.weight", f"{source}o_proj.weight", c.hidden_size, width)
