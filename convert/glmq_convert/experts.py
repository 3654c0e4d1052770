"""Feed-forward layers, dense and of experts, and layers of multi-token prediction in GGUF terms."""

from __future__ import annotations

import gguf

from .model_config import ModelConfig
from .moe_config import MoeConfig
from .plan import Piece
from .tensor_plan import TensorPlan


def add_expert_metadata(writer: gguf.GGUFWriter, config: MoeConfig, n_mtp_layers: int) -> None:
    """Write what is said of experts and of multi-token prediction."""
    c = config
    writer.add_expert_count(c.n_routed_experts)
    writer.add_expert_used_count(c.num_experts_per_tok)
    writer.add_expert_shared_count(c.n_shared_experts)
    writer.add_expert_feed_forward_length(c.moe_intermediate_size)
    writer.add_expert_group_count(c.n_group)
    writer.add_expert_group_used_count(c.topk_group)
    writer.add_expert_gating_func(gguf.ExpertGatingFuncType.SIGMOID)
    writer.add_expert_weights_scale(c.routed_scaling_factor)
    writer.add_expert_weights_norm(c.norm_topk_prob)
    writer.add_leading_dense_block_count(c.first_k_dense_replace)
    writer.add_vocab_size(c.vocab_size)
    if n_mtp_layers:
        writer.add_nextn_predict_layers(n_mtp_layers)


def plan_feed_forward(
    plan: TensorPlan, block: str, suffix: str, source: str, width: int, hidden_size: int
) -> None:
    """A dense network, or the shared experts."""
    plan.add(f"{block}ffn_gate{suffix}.weight", f"{source}gate_proj.weight", width, hidden_size)
    plan.add(f"{block}ffn_up{suffix}.weight", f"{source}up_proj.weight", width, hidden_size)
    plan.add(f"{block}ffn_down{suffix}.weight", f"{source}down_proj.weight", hidden_size, width)


def plan_experts(plan: TensorPlan, c: MoeConfig, block: str, source: str) -> None:
    """A layer's router, routed experts and shared experts."""
    n, width = c.n_routed_experts, c.moe_intermediate_size
    plan.add(f"{block}ffn_gate_inp.weight", f"{source}gate.weight", n, c.hidden_size)
    plan.add(f"{block}exp_probs_b.bias", f"{source}gate.e_score_correction_bias", n)
    shapes = {"gate": (width, c.hidden_size), "up": (width, c.hidden_size), "down": (c.hidden_size, width)}
    if plan.has(f"{source}experts.gate_up_proj"):
        pieces = _fused_experts(plan, f"{source}experts.", n, width, c.hidden_size)
    else:
        pieces = {
            part: [plan.whole(f"{source}experts.{j}.{part}_proj.weight", *shape) for j in range(n)]
            for part, shape in shapes.items()
        }
    for part, shape in shapes.items():
        plan.add_pieces(f"{block}ffn_{part}_exps.weight", (n, *shape), pieces[part])
    if c.n_shared_experts:
        shared = width * c.n_shared_experts
        plan_feed_forward(plan, block, "_shexp", f"{source}shared_experts.", shared, c.hidden_size)


def _fused_experts(
    plan: TensorPlan, source: str, n: int, width: int, hidden_size: int
) -> dict[str, list[Piece]]:
    """Pieces of stacked experts, whose `gate_up_proj` holds each expert's gate rows, then its up rows."""
    gate_up, down = f"{source}gate_up_proj", f"{source}down_proj"
    plan.whole(gate_up, n, 2 * width, hidden_size)
    return {
        "gate": [Piece(gate_up, 2 * width * j, width) for j in range(n)],
        "up": [Piece(gate_up, 2 * width * j + width, width) for j in range(n)],
        "down": [plan.whole(down, n, hidden_size, width)],
    }


def plan_mtp(plan: TensorPlan, c: ModelConfig, i: int) -> None:
    """What layer `i`, of multi-token prediction, has beside a layer of the model."""
    block, source = f"blk.{i}.nextn.", f"model.layers.{i}."
    plan.add(f"{block}eh_proj.weight", f"{source}eh_proj.weight", c.hidden_size, 2 * c.hidden_size)
    for norm in ("enorm", "hnorm"):
        plan.add(f"{block}{norm}.weight", f"{source}{norm}.weight", c.hidden_size)
    plan.add(f"{block}shared_head_norm.weight", f"{source}shared_head.norm.weight", c.hidden_size)
    optional = {"embed_tokens": "embed_tokens", "shared_head_head": "shared_head.head"}
    for name, origin in optional.items():
        if plan.has(f"{source}{origin}.weight"):
            plan.add(f"{block}{name}.weight", f"{source}{origin}.weight", c.vocab_size, c.hidden_size)
