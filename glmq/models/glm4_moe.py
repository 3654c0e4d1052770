"""GLM-4.5, 4.6 and 4.7 (`glm4moe`): grouped-query attention and sigmoid-routed experts.

Follows Glm4MoeForCausalLM of Hugging Face transformers.
"""

from __future__ import annotations

from glmq_kernels.errors import GlmqError
from glmq_kernels.threads.tape import ActivationType

from ..gguf import GGUFFile
from ..program import Program
from ..weights import Weights
from .decoder import Decoder
from .expert_layers import SIGMOID, ExpertSizes, feed_forward
from .grouped_query_attention import AttentionShape, GroupedQueryAttention
from .metadata import EXPERTS, ROPE, SIZES, check_metadata
from .prediction_layer import add_prediction
from .rotary import read_rotary
from .trunk import of_prediction, trunk_layers


def build(
    file: GGUFFile, weights: Weights, max_tokens: int, n_threads: int, cache_type: str,
    activations: ActivationType, prediction: Weights | None = None,
) -> Program:  # fmt: skip
    """The forward pass of a `glm4moe` file for batches of up to `max_tokens` (see `Build`)."""
    shape = AttentionShape.from_gguf(file)
    check_metadata(file, SIZES | ROPE | EXPERTS | {"nextn_predict_layers"}, shape.head_dim)
    gating = file.integer("glm4moe.expert_gating_func", SIGMOID)
    if gating not in (0, SIGMOID):
        raise GlmqError(f"{file.path}: expert_gating_func {gating} is not GLM's sigmoid ({SIGMOID})")
    n_layers, sizes = trunk_layers(file), ExpertSizes.from_gguf(file)
    sizes.check(file, n_layers)
    decoder = Decoder(
        file, weights, max_tokens, n_threads, cache_type, activations,
        layers=range(n_layers), cache=shape.cache(n_layers, cache_type, int(prediction is not None)),
        shape=shape, rotary=read_rotary(file, weights, shape.head_dim, interleaved=False),
    )  # fmt: skip
    dense_width = file.integer("glm4moe.feed_forward_length", 0)
    norm = "post_attention_norm"
    decoder.layers(GroupedQueryAttention(decoder, shape), norm, feed_forward(decoder, sizes, dense_width))
    weights.check_all_used(of_prediction(file))
    if prediction is not None:
        add_prediction(decoder, prediction, lambda layer: GroupedQueryAttention(layer, shape), norm)
    return decoder.program
