"""Glm4Moe in GGUF terms: metadata, and every tensor's name, shape and origin.

Names and meanings follow llama.cpp's architecture `glm4moe`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import gguf
from glmq_kernels.errors import GlmqError

from .config import Glm4MoeConfig
from .mtp import MtpLayerError, layer_of, mtp_layers
from .plan import Piece, PlannedTensor, Weights, planned_tensor
from .rope import RopeScaling, yarn_amplitude

ARCHITECTURE = "glm4moe"
NAMES_SHOWN = 3


def add_metadata(writer: gguf.GGUFWriter, config: Glm4MoeConfig, n_mtp_layers: int) -> None:
    """Write the architecture's own metadata (`glm4moe.*`)."""
    c = config
    writer.add_block_count(c.num_hidden_layers + n_mtp_layers)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_key_length(c.head_dim)
    writer.add_value_length(c.head_dim)
    writer.add_rope_freq_base(c.rope_theta)
    writer.add_rope_dimension_count(c.rotary_dim)
    if c.rope_scaling:
        _add_rope_scaling(writer, c.rope_scaling)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
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


def _add_rope_scaling(writer: gguf.GGUFWriter, scaling: RopeScaling) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType(scaling.type))
    writer.add_rope_scaling_factor(scaling.factor)
    if scaling.type == "yarn":
        writer.add_rope_scaling_orig_ctx_len(scaling.original_context)
        # A file's attn_factor comes on top of what YaRN itself multiplies by.
        writer.add_rope_scaling_attn_factors(scaling.attention_factor / yarn_amplitude(scaling.factor))
        writer.add_rope_scaling_yarn_beta_fast(scaling.beta_fast)
        writer.add_rope_scaling_yarn_beta_slow(scaling.beta_slow)


def plan_tensors(
    config: Glm4MoeConfig, weights: Weights, names: Collection[str], type_name: str, n_mtp_layers: int
) -> list[PlannedTensor]:
    """Every tensor of the file, in order. Raises GlmqError naming what is missing, extra or misshapen.

    weights: the checkpoint; names: of its tensors; type_name: of the large matrices, such as Q8_0.
    """
    plan = _Plan(weights, names, type_name, mtp_layers(config, names))
    c = config
    plan.add("token_embd.weight", "model.embed_tokens.weight", c.vocab_size, c.hidden_size)
    plan.add("output_norm.weight", "model.norm.weight", c.hidden_size)
    if not c.tie_word_embeddings:
        plan.add("output.weight", "lm_head.weight", c.vocab_size, c.hidden_size)
    for i in range(c.num_hidden_layers + n_mtp_layers):
        _plan_layer(plan, c, i)
        if i >= c.num_hidden_layers:
            _plan_mtp(plan, c, i)
    plan.check(set(_left_out(config, names, n_mtp_layers)))
    return plan.tensors


class _Plan:
    """Collects tensors, what of the checkpoint they use, and what is wrong with it."""

    def __init__(
        self, weights: Weights, names: Collection[str], type_name: str, mtp: Collection[int]
    ) -> None:
        self.tensors: list[PlannedTensor] = []
        self._weights, self._names, self._type_name = weights, names, type_name
        self._mtp_layers = mtp
        self._used: set[str] = set()
        self._missing: list[str] = []

    def has(self, source: str) -> bool:
        return source in self._names

    def add(self, name: str, source: str, *shape: int) -> None:
        """A tensor that is one tensor of the checkpoint."""
        self.add_pieces(name, shape, [self.whole(source, *shape)])

    def add_pieces(self, name: str, shape: tuple[int, ...], pieces: list[Piece]) -> None:
        self.tensors.append(planned_tensor(name, shape, pieces, self._type_name))

    def whole(self, source: str, *shape: int) -> Piece:
        """All rows of a tensor of the checkpoint, which must have this shape."""
        self._used.add(source)
        rows = 1
        for n in shape[:-1]:
            rows *= n
        if source not in self._names:
            self._missing.append(source)
        elif self._weights.shape(source) != shape:
            found = self._weights.shape(source)
            raise self._wrong(
                [source], f"tensor {source} has shape {found}, where config.json asks for {shape}"
            )
        else:
            self._weights.item_bytes(source)  # refuses types that cannot be read
        return Piece(source, 0, rows)

    def check(self, left_out: set[str]) -> None:
        """Raise GlmqError when tensors are missing or not accounted for."""
        if self._missing:
            raise self._wrong(
                self._missing,
                f"the checkpoint lacks {_some(self._missing)}, which config.json asks for;"
                " finish the download or correct config.json",
            )
        extra = sorted(set(self._names) - self._used - left_out)
        if extra:
            raise self._wrong(
                extra,
                f"the checkpoint holds {_some(extra)}, which config.json has no place for;"
                " it may be of another model",
            )

    def _wrong(self, sources: list[str], message: str) -> GlmqError:
        """An error about tensors, which knows whether all are of multi-token prediction."""
        are_mtp = all(layer_of(source) in self._mtp_layers for source in sources)
        return MtpLayerError(message) if are_mtp else GlmqError(message)


def _some(names: list[str]) -> str:
    more = len(names) - NAMES_SHOWN
    shown = ", ".join(names[:NAMES_SHOWN])
    return (
        f"tensor {names[0]}" if len(names) == 1 else f"tensors {shown}" + (f" and {more} more" * (more > 0))
    )


def _left_out(config: Glm4MoeConfig, names: Collection[str], n_mtp_layers: int) -> Iterator[str]:
    """Tensors that are rightly not converted: a tied head's copy, dropped MTP layers, tables, empty ones."""
    dropped = mtp_layers(config, names) if not n_mtp_layers else frozenset()
    for name in names:
        if (
            layer_of(name) in dropped
            or name.endswith("rotary_emb.inv_freq")
            or (name == "lm_head.weight" and config.tie_word_embeddings)
            or (".shared_experts." in name and config.n_shared_experts == 0)
        ):
            yield name


def _plan_layer(plan: _Plan, c: Glm4MoeConfig, i: int) -> None:
    block, source = f"blk.{i}.", f"model.layers.{i}."
    plan.add(f"{block}attn_norm.weight", f"{source}input_layernorm.weight", c.hidden_size)
    heads = {"q": c.num_attention_heads, "k": c.num_key_value_heads, "v": c.num_key_value_heads}
    for part, n_heads in heads.items():
        n = n_heads * c.head_dim
        plan.add(f"{block}attn_{part}.weight", f"{source}self_attn.{part}_proj.weight", n, c.hidden_size)
        if c.attention_bias:
            plan.add(f"{block}attn_{part}.bias", f"{source}self_attn.{part}_proj.bias", n)
    if c.use_qk_norm:
        for part in ("q", "k"):
            plan.add(f"{block}attn_{part}_norm.weight", f"{source}self_attn.{part}_norm.weight", c.head_dim)
    width = c.num_attention_heads * c.head_dim
    plan.add(f"{block}attn_output.weight", f"{source}self_attn.o_proj.weight", c.hidden_size, width)
    plan.add(f"{block}post_attention_norm.weight", f"{source}post_attention_layernorm.weight", c.hidden_size)
    if i < c.first_k_dense_replace:
        _plan_feed_forward(plan, block, "", f"{source}mlp.", c.intermediate_size, c.hidden_size)
    else:
        _plan_experts(plan, c, block, f"{source}mlp.")


def _plan_feed_forward(
    plan: _Plan, block: str, suffix: str, source: str, width: int, hidden_size: int
) -> None:
    plan.add(f"{block}ffn_gate{suffix}.weight", f"{source}gate_proj.weight", width, hidden_size)
    plan.add(f"{block}ffn_up{suffix}.weight", f"{source}up_proj.weight", width, hidden_size)
    plan.add(f"{block}ffn_down{suffix}.weight", f"{source}down_proj.weight", hidden_size, width)


def _plan_experts(plan: _Plan, c: Glm4MoeConfig, block: str, source: str) -> None:
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
        _plan_feed_forward(plan, block, "_shexp", f"{source}shared_experts.", shared, c.hidden_size)


def _fused_experts(plan: _Plan, source: str, n: int, width: int, hidden_size: int) -> dict[str, list[Piece]]:
    """Pieces of stacked experts, whose `gate_up_proj` holds each expert's gate rows, then its up rows."""
    gate_up, down = f"{source}gate_up_proj", f"{source}down_proj"
    plan.whole(gate_up, n, 2 * width, hidden_size)
    return {
        "gate": [Piece(gate_up, 2 * width * j, width) for j in range(n)],
        "up": [Piece(gate_up, 2 * width * j + width, width) for j in range(n)],
        "down": [plan.whole(down, n, hidden_size, width)],
    }


def _plan_mtp(plan: _Plan, c: Glm4MoeConfig, i: int) -> None:
    block, source = f"blk.{i}.nextn.", f"model.layers.{i}."
    plan.add(f"{block}eh_proj.weight", f"{source}eh_proj.weight", c.hidden_size, 2 * c.hidden_size)
    for norm in ("enorm", "hnorm"):
        plan.add(f"{block}{norm}.weight", f"{source}{norm}.weight", c.hidden_size)
    plan.add(f"{block}shared_head_norm.weight", f"{source}shared_head.norm.weight", c.hidden_size)
    optional = {"embed_tokens": "embed_tokens", "shared_head_head": "shared_head.head"}
    for name, origin in optional.items():
        if plan.has(f"{source}{origin}.weight"):
            plan.add(f"{block}{name}.weight", f"{source}{origin}.weight", c.vocab_size, c.hidden_size)
