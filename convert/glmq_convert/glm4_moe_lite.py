"""Glm4MoeLite (GLM-4.7-Flash) in GGUF terms: metadata, and every tensor's name, shape and origin.

Names and meanings follow llama.cpp's architecture `deepseek2`, with latent attention as it absorbs keys:

    kv_b_proj (n_heads * (nope + value), rank)    of each head K_h, then V_h
    attn_k_b  (n_heads, rank, nope)               K_h turned
    attn_v_b  (n_heads, value, rank)              V_h
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import gguf

from .experts import add_expert_metadata
from .layers import add_rope_scaling, add_sizes, plan_layers
from .lite_config import Glm4MoeLiteConfig
from .plan import Piece, PlannedTensor, Weights
from .tensor_plan import TensorPlan
from .turned_keys import turned

ARCHITECTURE = "deepseek2"


def add_metadata(writer: gguf.GGUFWriter, config: Glm4MoeLiteConfig, n_mtp_layers: int) -> None:
    """Write the architecture's own metadata (`deepseek2.*`); key and value lengths are of cached rows."""
    c = config
    add_sizes(writer, c, n_mtp_layers)
    writer.add_head_count_kv(1)
    if c.q_lora_rank:
        writer.add_q_lora_rank(c.q_lora_rank)
    writer.add_kv_lora_rank(c.kv_lora_rank)
    writer.add_key_length(c.kv_lora_rank + c.qk_rope_head_dim)
    writer.add_value_length(c.kv_lora_rank)
    writer.add_key_length_mla(c.qk_head_dim)
    writer.add_value_length_mla(c.v_head_dim)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_rope_dimension_count(c.qk_rope_head_dim)
    if c.rope_scaling:
        add_rope_scaling(writer, c.rope_scaling, of_scores=c.rope_scaling.mscale_all_dim)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    add_expert_metadata(writer, c, n_mtp_layers)


def plan_tensors(
    config: Glm4MoeLiteConfig,
    weights: Weights,
    names: Collection[str],
    n_mtp_layers: int,
) -> list[PlannedTensor]:
    """Every tensor of the file, in order. Raises GlmqError naming what is missing, extra or misshapen.

    weights: the checkpoint with turned keys; names: of its tensors.
    """
    plan = TensorPlan(config, weights, names)
    plan_layers(plan, config, partial(_plan_attention, plan, config), "ffn_norm", n_mtp_layers)
    return plan.tensors


def _plan_attention(plan: TensorPlan, c: Glm4MoeLiteConfig, block: str, source: str) -> None:
    n_heads, size = c.num_attention_heads, c.num_attention_heads * c.qk_head_dim
    if c.q_lora_rank:
        plan.add(f"{block}attn_q_a.weight", f"{source}q_a_proj.weight", c.q_lora_rank, c.hidden_size)
        plan.add(f"{block}attn_q_a_norm.weight", f"{source}q_a_layernorm.weight", c.q_lora_rank)
        _plan_rotated(plan, c, f"{block}attn_q_b.weight", f"{source}q_b_proj.weight", (size, c.q_lora_rank))
    else:
        _plan_rotated(plan, c, f"{block}attn_q.weight", f"{source}q_proj.weight", (size, c.hidden_size))
    row = c.kv_lora_rank + c.qk_rope_head_dim
    down = f"{source}kv_a_proj_with_mqa.weight"
    _plan_rotated(plan, c, f"{block}attn_kv_a_mqa.weight", down, (row, c.hidden_size), n_heads=1)
    plan.add(f"{block}attn_kv_a_norm.weight", f"{source}kv_a_layernorm.weight", c.kv_lora_rank)
    both, of_head = f"{source}kv_b_proj.weight", c.qk_nope_head_dim + c.v_head_dim
    plan.whole(both, n_heads * of_head, c.kv_lora_rank)
    keys = Piece(turned(both), 0, n_heads * c.kv_lora_rank)
    plan.add_pieces(f"{block}attn_k_b.weight", (n_heads, c.kv_lora_rank, c.qk_nope_head_dim), [keys])
    values = [Piece(both, h * of_head + c.qk_nope_head_dim, c.v_head_dim) for h in range(n_heads)]
    plan.add_pieces(f"{block}attn_v_b.weight", (n_heads, c.v_head_dim, c.kv_lora_rank), values)
    width = n_heads * c.v_head_dim
    plan.add(f"{block}attn_output.weight", f"{source}o_proj.weight", c.hidden_size, width)


def _plan_rotated(
    plan: TensorPlan,
    c: Glm4MoeLiteConfig,
    name: str,
    source: str,
    shape: tuple[int, int],
    n_heads: int | None = None,
) -> None:
    """A matrix whose heads end with rows that are rotated, which GGUF has as neighbouring pairs."""
    whole = plan.whole(source, *shape)
    if c.rope_interleave:
        plan.add_pieces(name, shape, [whole])
        return
    of_head, half = shape[0] // (n_heads or c.num_attention_heads), c.qk_rope_head_dim // 2
    pieces = []
    for end in range(of_head, shape[0] + 1, of_head):
        first = end - c.qk_rope_head_dim
        pieces.append(Piece(source, end - of_head, of_head - c.qk_rope_head_dim))
        pieces += [Piece(source, first + i + part * half, 1) for i in range(half) for part in range(2)]
    plan.add_pieces(name, shape, pieces)
