"""Mixture-of-experts layers: experts that a router chooses by sigmoid scores, and shared experts.

Follows DeepSeek-V3 (arXiv:2412.19437), as Glm4MoeMoE of Hugging Face transformers does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from glmq_kernels.errors import GlmqError
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.operands import Routing

from ..experts.expert_layer import ExpertLayer, ExpertSections
from ..gguf import GET_IT_AGAIN, GGUFFile
from ..tape_sections import FINAL_NORM
from .decoder import Decoder

SIGMOID = 2
"""The value of `expert_gating_func` that GLM uses."""


@dataclass(frozen=True)
class ExpertSizes:
    """Sizes and rules of a model's routed experts. Widths are numbers of neurons."""

    n_dense_layers: int
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
    def from_gguf(cls, file: GGUFFile) -> ExpertSizes:
        """Read the metadata."""
        prefix = file.text("general.architecture")

        def integer(key: str, default: int | None = None) -> int:
            return file.integer(f"{prefix}.{key}", default)

        expert_width, n_shared = integer("expert_feed_forward_length", 0), integer("expert_shared_count", 0)
        return cls(
            n_dense_layers=integer("leading_dense_block_count", 0),
            expert_width=expert_width,
            n_experts=integer("expert_count"),
            top_k=integer("expert_used_count"),
            n_shared_experts=n_shared,
            shared_width=integer("expert_shared_feed_forward_length", 0) or expert_width * n_shared,
            n_groups=integer("expert_group_count", 1) or 1,
            kept_groups=integer("expert_group_used_count", 1) or 1,
            normalize_weights=file.boolean(f"{prefix}.expert_weights_norm", False),
            weight_factor=file.number(f"{prefix}.expert_weights_scale", 1.0) or 1.0,
        )

    def check(self, file: GGUFFile, n_layers: int) -> None:
        """Refuse sizes that do not fit together."""
        if n_layers > self.n_dense_layers and not 0 < self.top_k <= self.n_experts:
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


def feed_forward(decoder: Decoder, sizes: ExpertSizes, dense_width: int) -> Callable[[int], None]:
    """Adds a layer's feed-forward: dense in the first layers, then of experts."""
    experts = ExpertLayers(decoder, sizes) if decoder.layer_numbers.stop > sizes.n_dense_layers else None

    def add(layer: int) -> None:
        if experts is None or layer < sizes.n_dense_layers:
            decoder.feed_forward(layer, dense_width)
        else:
            experts.layer(layer)

    return add


class ExpertLayers:
    """The mixture-of-experts layers: x += sum of weighted experts + shared experts, of `normed`."""

    def __init__(self, decoder: Decoder, sizes: ExpertSizes) -> None:
        self._decoder, self._sizes = decoder, sizes
        tape = decoder.tape
        first = f"blk.{sizes.n_dense_layers}"
        decoder.weights.check(
            f"{first}.ffn_down_exps.weight", (sizes.n_experts, decoder.hidden_size, sizes.expert_width)
        )
        self.routing, self.prefetch_routing = (
            ops.new_routing(tape, sizes.n_experts, sizes.top_k) for _ in range(2)
        )
        self.router_logits = ops.float_rows(tape, sizes.n_experts)
        self.gathered = ops.new_gathered(tape, decoder.hidden_size, self.routing)
        self.hidden = ops.new_chosen(tape, sizes.expert_width, self.routing)

    def layer(self, layer: int) -> None:
        """One layer's routing, routed experts and shared experts."""
        decoder, sizes, prefix = self._decoder, self._sizes, f"blk.{layer}"
        tape, weights = decoder.tape, decoder.weights
        self._route(layer, self.routing)
        routed = weights.experts(prefix, decoder.hidden_size, sizes.expert_width, sizes.n_experts)
        ops.gather_tiles(tape, decoder.normed, self.gathered, self.routing, decoder.part)
        parts = weights.parts(prefix, sizes.n_experts)
        is_last = decoder.is_last(layer)
        sections = ExpertSections.of(prefix, FINAL_NORM if is_last else f"blk.{layer + 1}")
        tape.section(sections.prefetch)
        prefetches = bool(parts) and not is_last
        if prefetches:
            self._route(layer + 1, self.prefetch_routing)
        tape.section(sections.shared_gate_up)
        networks = [ops.Network(routed, self.hidden, self.routing)]
        if sizes.n_shared_experts:
            matrices = weights.network(prefix, "_shexp", decoder.hidden_size, sizes.shared_width)
            networks.insert(0, shared := decoder.dense(matrices))
            # The products of shared and routed experts need not wait for each other.
            ops.gate_up(tape, shared, decoder.normed, decoder.normed, part=decoder.part, barrier=False)
        tape.section(sections.routed_gate_up)
        ops.gate_up(tape, networks[-1], decoder.normed, self.gathered, part=decoder.part)
        tape.section(sections.down)
        ops.down(tape, *networks, out=decoder.x, part=decoder.part)
        decoder.program.expert_layers.append(
            ExpertLayer(
                index=layer - sizes.n_dense_layers,
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
        decoder, sizes, prefix = self._decoder, self._sizes, f"blk.{layer}"
        weights = decoder.weights
        router = weights.matrix(f"{prefix}.ffn_gate_inp.weight", sizes.n_experts, decoder.hidden_size)
        if routing is self.prefetch_routing:
            router = replace(router, observed_as="")  # these are not the inputs that it is meant for
        projection = ops.Projection(router, self.router_logits)
        ops.matmul(decoder.tape, decoder.normed, projection, part=decoder.part)
        ops.route(
            decoder.tape,
            self.router_logits,
            routing,
            bias=weights.optional_vector(f"{prefix}.exp_probs_b.bias", sizes.n_experts),
            n_groups=sizes.n_groups,
            kept_groups=sizes.kept_groups,
            normalize=sizes.normalize_weights,
            factor=sizes.weight_factor,
            part=decoder.part,
        )
