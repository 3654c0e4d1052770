"""Dense Llama in GGUF terms: metadata, and every tensor's name, shape and origin.

Names and meanings follow llama.cpp's architecture `llama`. Its files have q and k with the rows of each head
interleaved, so that the two dimensions of a rotary pair are neighbours, and the frequencies' divisors of
rope_type llama3 as a tensor, `rope_freqs.weight`.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

import gguf

from .interleaved_rows import ROPE_DIVISORS, interleaved
from .layers import add_rope_scaling, add_sizes, plan_layers
from .llama_config import LlamaConfig
from .plan import Piece, PlannedTensor, Weights
from .tensor_plan import TensorPlan

ARCHITECTURE = "llama"


def add_metadata(writer: gguf.GGUFWriter, config: LlamaConfig) -> None:
    """Write the architecture's own metadata (`llama.*`)."""
    c = config
    add_sizes(writer, c, n_mtp_layers=0)
    writer.add_head_count_kv(c.num_key_value_heads)
    if c.head_dim * c.num_attention_heads != c.hidden_size:
        writer.add_key_length(c.head_dim)
        writer.add_value_length(c.head_dim)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_rope_dimension_count(c.head_dim)
    if c.rope_scaling and c.rope_scaling.type != "llama3":
        add_rope_scaling(writer, c.rope_scaling)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_vocab_size(c.vocab_size)


def plan_tensors(config: LlamaConfig, weights: Weights, names: Collection[str]) -> list[PlannedTensor]:
    """Every tensor of the file, in order. Raises GlmqError naming what is missing, extra or misshapen.

    weights: the checkpoint with interleaved rows; names: of its tensors.
    """
    plan = TensorPlan(config, weights, names)
    if config.rope_scaling and config.rope_scaling.type == "llama3":
        plan.add_pieces("rope_freqs.weight", (config.head_dim // 2,), [Piece(ROPE_DIVISORS, 0, 1)])
    plan_layers(plan, config, partial(_plan_attention, plan, config), "ffn_norm", n_mtp_layers=0)
    return plan.tensors


def _plan_attention(plan: TensorPlan, c: LlamaConfig, block: str, source: str) -> None:
    heads = {"q": c.num_attention_heads, "k": c.num_key_value_heads, "v": c.num_key_value_heads}
    for part, n_heads in heads.items():
        n = n_heads * c.head_dim
        shapes = {"weight": (n, c.hidden_size), **({"bias": (n,)} if c.attention_bias else {})}
        for kind, shape in shapes.items():
            name, origin = f"{block}attn_{part}.{kind}", f"{source}{part}_proj.{kind}"
            whole = plan.whole(origin, *shape)
            piece = whole if part == "v" else Piece(interleaved(origin), 0, whole.n_rows)
            plan.add_pieces(name, shape, [piece])
    width = c.num_attention_heads * c.head_dim
    plan.add(f"{block}attn_output.weight", f"{source}o_proj.weight", c.hidden_size, width)
    if c.attention_bias:
        plan.add(f"{block}attn_output.bias", f"{source}o_proj.bias", c.hidden_size)
