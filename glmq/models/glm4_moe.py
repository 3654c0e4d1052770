"""GLM-4.5, 4.6 and 4.7 (`glm4moe`): grouped-query attention and sigmoid-routed experts.

Follows Glm4MoeForCausalLM of Hugging Face transformers. The multi-token-prediction layer that a file
may hold behind the trunk is not part of this pass.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from glmq_kernels.errors import GlmqError
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.operands import Routing
from glmq_kernels.threads.tape import ActivationType

from ..experts.expert_layer import ExpertLayer, ExpertSections
from ..gguf import GET_IT_AGAIN, GGUFFile
from ..program import Program
from ..weights import Weights
from .decoder import HEAD, AttentionShape, Decoder, vocabulary_size
from .metadata import EXPERTS, ROPE, SIZES, check_metadata
from .rotary import read_rotary

SIGMOID = 2
"""The value of `expert_gating_func` that GLM uses."""


@dataclass(frozen=True)
class Glm4MoeConfig:
    """What the metadata of a `glm4moe` file says. Widths are numbers of neurons."""

    n_layers: int
    hidden_size: int
    shape: AttentionShape
    epsilon: float
    n_dense_layers: int
    dense_width: int
    expert_width: int
    n_experts: int
    top_k: int
    n_shared_experts: int
    shared_width: int
    n_groups: int
    kept_groups: int
    normalize_weights: bool
    weight_factor: float

    @classmethod
    def from_gguf(cls, file: GGUFFile) -> Glm4MoeConfig:
        """Read and check the metadata."""

        def integer(key: str, default: int | None = None, least: int = 0) -> int:
            return file.integer(f"glm4moe.{key}", default, least)

        shape = AttentionShape.from_gguf(file)
        check_metadata(file, SIZES | ROPE | EXPERTS | {"nextn_predict_layers"}, shape)
        expert_width, n_shared = integer("expert_feed_forward_length", 0), integer("expert_shared_count", 0)
        config = cls(
            n_layers=trunk_layers(file),
            hidden_size=integer("embedding_length"),
            shape=shape,
            epsilon=file.number("glm4moe.attention.layer_norm_rms_epsilon", least=0),
            n_dense_layers=integer("leading_dense_block_count", 0),
            dense_width=integer("feed_forward_length", 0),
            expert_width=expert_width,
            n_experts=integer("expert_count"),
            top_k=integer("expert_used_count"),
            n_shared_experts=n_shared,
            shared_width=integer("expert_shared_feed_forward_length", 0) or expert_width * n_shared,
            n_groups=integer("expert_group_count", 1) or 1,
            kept_groups=integer("expert_group_used_count", 1) or 1,
            normalize_weights=file.boolean("glm4moe.expert_weights_norm", False),
            weight_factor=file.number("glm4moe.expert_weights_scale", 1.0) or 1.0,
        )
        gating = integer("expert_gating_func", SIGMOID)
        if gating not in (0, SIGMOID):
            raise GlmqError(f"{file.path}: expert_gating_func {gating} is not GLM's sigmoid ({SIGMOID})")
        config.check(file)
        return config

    def check(self, file: GGUFFile) -> None:
        """Refuse sizes that do not fit together."""
        if self.n_layers > self.n_dense_layers and not 0 < self.top_k <= self.n_experts:
            raise GlmqError(f"{file.path}: {self.top_k} of {self.n_experts} experts cannot be chosen")
        if self.n_experts % self.n_groups or self.kept_groups > self.n_groups:
            raise GlmqError(
                f"{file.path}: {self.n_experts} experts do not fit into {self.n_groups} groups,"
                f" {self.kept_groups} of them used"
            )
        if self.n_groups > 1 and self.kept_groups * (self.n_experts // self.n_groups) < self.top_k:
            raise GlmqError(
                f"{file.path}: {self.kept_groups} of {self.n_groups} groups of experts hold fewer than the"
                f" {self.top_k} that a token needs; the file is damaged: {GET_IT_AGAIN}"
            )


def trunk_layers(file: GGUFFile) -> int:
    """Layers of the model itself, without those of multi-token prediction behind them.

    `block_count` counts the latter or not, and files hold them or not, whatever the metadata says; what
    decides is which tensors are there.
    """
    blocks = file.integer("glm4moe.block_count", least=1)
    of_prediction = prediction_blocks(file)
    trunk = 0
    while trunk < blocks and trunk not in of_prediction and _attention_norm(trunk) in file.tensors:
        trunk += 1
    if trunk == 0:
        raise GlmqError(
            f"{file.path} holds no model layers, only multi-token-prediction ones;"
            " choose the file that holds the model itself"
        )
    held = {block for name in file.tensors if trunk <= (block := block_of(name)) < blocks}
    left_out = blocks - trunk - len(held)
    if held - of_prediction or left_out > file.integer("glm4moe.nextn_predict_layers", 0):
        file.tensor(_attention_norm(trunk))
    return trunk


def _attention_norm(block: int) -> str:
    return f"blk.{block}.attn_norm.weight"


def block_of(name: str) -> int:
    """The number of the block that a tensor belongs to, or -1."""
    found = re.match(r"blk\.(\d+)\.", name)
    return int(found[1]) if found else -1


def prediction_blocks(file: GGUFFile) -> frozenset[int]:
    """The blocks that are layers of multi-token prediction."""
    return frozenset(block_of(name) for name in file.tensors if ".nextn." in name)


def build(
    file: GGUFFile, weights: Weights, max_tokens: int, n_threads: int, cache_type: str,
    activations: ActivationType,
) -> Program:  # fmt: skip
    """The forward pass of a `glm4moe` file for batches of up to `max_tokens`."""
    config = Glm4MoeConfig.from_gguf(file)
    decoder = Decoder(
        max_tokens,
        n_threads,
        weights,
        cache_type=cache_type,
        activations=activations,
        n_layers=config.n_layers,
        hidden_size=config.hidden_size,
        shape=config.shape,
        rotary=read_rotary(file, weights, config.shape.head_dim, interleaved=False),
        epsilon=config.epsilon,
        n_vocab=vocabulary_size(file),
    )
    experts = ExpertLayers(decoder, config) if config.n_layers > config.n_dense_layers else None
    embedding = decoder.embed()
    for layer in range(config.n_layers):
        decoder.tape.section(f"blk.{layer}")
        decoder.norm(f"blk.{layer}.attn_norm.weight")
        decoder.attention(layer)
        decoder.norm(f"blk.{layer}.post_attention_norm.weight")
        if layer < config.n_dense_layers or experts is None:
            decoder.feed_forward(layer, config.dense_width)
        else:
            experts.layer(layer)
    decoder.head(embedding)
    blocks = file.integer("glm4moe.block_count")
    of_prediction = prediction_blocks(file).union(
        range(blocks, blocks + file.integer("glm4moe.nextn_predict_layers", 0))
    )
    weights.check_all_used(lambda name: block_of(name) in of_prediction)
    return decoder.program


class ExpertLayers:
    """The mixture-of-experts layers: x += sum of weighted experts + shared experts, of `normed`."""

    def __init__(self, decoder: Decoder, config: Glm4MoeConfig) -> None:
        self.decoder, self.config = decoder, config
        tape = decoder.tape
        first = f"blk.{config.n_dense_layers}"
        sizes = (config.n_experts, config.expert_width, config.hidden_size)
        decoder.weights.check(f"{first}.ffn_gate_exps.weight", sizes)
        self.routing, self.prefetch_routing = (
            ops.new_routing(tape, config.n_experts, config.top_k) for _ in range(2)
        )
        self.router_logits = ops.float_rows(tape, config.n_experts)
        self.gathered = ops.new_gathered(tape, config.hidden_size, self.routing)
        self.hidden = ops.new_chosen(tape, config.expert_width, self.routing)

    def layer(self, layer: int) -> None:
        """One layer's routing, routed experts and shared experts."""
        decoder, config, prefix = self.decoder, self.config, f"blk.{layer}"
        tape, weights = decoder.tape, decoder.weights
        self._route(layer, self.routing)
        routed = weights.experts(prefix, "_exps", config.hidden_size, config.expert_width, config.n_experts)
        ops.gather_tiles(tape, decoder.normed, self.gathered, self.routing, decoder.part)
        parts = weights.parts(prefix, config.n_experts)
        is_last = layer + 1 == config.n_layers
        sections = ExpertSections.of(prefix, HEAD if is_last else f"blk.{layer + 1}")
        tape.section(sections.prefetch)
        prefetches = bool(parts) and not is_last
        if prefetches:
            self._route(layer + 1, self.prefetch_routing)
        tape.section(sections.shared_gate_up)
        networks = [ops.Network(routed, self.hidden, self.routing)]
        if config.n_shared_experts:
            matrices = weights.experts(prefix, "_shexp", config.hidden_size, config.shared_width)
            networks.insert(0, shared := decoder.dense(matrices))
            # The products of shared and routed experts need not wait for each other.
            ops.gate_up(tape, shared, decoder.normed, decoder.normed, part=decoder.part, barrier=False)
        tape.section(sections.routed_gate_up)
        ops.gate_up(tape, networks[-1], decoder.normed, self.gathered, part=decoder.part)
        tape.section(sections.down)
        ops.down(tape, *networks, out=decoder.x, part=decoder.part)
        decoder.program.expert_layers.append(
            ExpertLayer(
                index=layer - config.n_dense_layers,
                parts=parts,
                experts=routed,
                part=decoder.part,
                routing=self.routing,
                prefetch_routing=self.prefetch_routing if prefetches else None,
                sections=sections,
            )
        )

    def _route(self, layer: int, routing: Routing) -> None:
        """Choose experts for `normed` with a layer's router."""
        config, weights, prefix = self.config, self.decoder.weights, f"blk.{layer}"
        router = weights.matrix(f"{prefix}.ffn_gate_inp.weight", config.n_experts, config.hidden_size)
        part = self.decoder.part
        ops.matmul(
            self.decoder.tape, self.decoder.normed, ops.Projection(router, self.router_logits), part=part
        )
        ops.route(
            self.decoder.tape,
            self.router_logits,
            routing,
            bias=weights.optional_vector(f"{prefix}.exp_probs_b.bias", config.n_experts),
            n_groups=config.n_groups,
            kept_groups=config.kept_groups,
            normalize=config.normalize_weights,
            factor=config.weight_factor,
            part=part,
        )
