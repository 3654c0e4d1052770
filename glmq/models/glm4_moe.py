"""GLM-4.5, 4.6 and 4.7 (`glm4moe`): grouped-query attention and sigmoid-routed experts.

Follows Glm4MoeForCausalLM of Hugging Face transformers. The multi-token-prediction layer that a file
may hold behind the trunk is not part of this pass.
"""

from __future__ import annotations

from glmq_kernels.errors import GlmqError
from glmq_kernels.threads.tape import ActivationType

from ..gguf import GGUFFile
from ..program import Program
from ..weights import Weights
from .decoder import Decoder, vocabulary_size
from .expert_layers import SIGMOID, ExpertLayers, ExpertSizes
from .grouped_query_attention import AttentionShape, GroupedQueryAttention
from .metadata import EXPERTS, ROPE, SIZES, check_metadata
from .rotary import read_rotary
from .trunk import of_prediction, trunk_layers


def build(
    file: GGUFFile, weights: Weights, max_tokens: int, n_threads: int, cache_type: str,
    activations: ActivationType,
) -> Program:  # fmt: skip
    """The forward pass of a `glm4moe` file for batches of up to `max_tokens`."""
    shape = AttentionShape.from_gguf(file)
    check_metadata(file, SIZES | ROPE | EXPERTS | {"nextn_predict_layers"}, shape.head_dim)
    gating = file.integer("glm4moe.expert_gating_func", SIGMOID)
    if gating not in (0, SIGMOID):
        raise GlmqError(f"{file.path}: expert_gating_func {gating} is not GLM's sigmoid ({SIGMOID})")
    n_layers, sizes = trunk_layers(file), ExpertSizes.from_gguf(file)
    sizes.check(file, n_layers)
    hidden_size = file.integer("glm4moe.embedding_length")
    shape.check_weights(weights, hidden_size)
    decoder = Decoder(
        max_tokens,
        n_threads,
        weights,
        activations=activations,
        cache=shape.cache(n_layers, cache_type),
        n_heads=shape.n_heads,
        hidden_size=hidden_size,
        rotary=read_rotary(file, weights, shape.head_dim, interleaved=False),
        epsilon=file.number("glm4moe.attention.layer_norm_rms_epsilon", least=0),
        n_vocab=vocabulary_size(file),
    )
    attention = GroupedQueryAttention(decoder, shape)
    experts = ExpertLayers(decoder, sizes) if n_layers > sizes.n_dense_layers else None
    dense_width = file.integer("glm4moe.feed_forward_length", 0)
    embedding = decoder.embed()
    for layer in range(n_layers):
        decoder.tape.section(f"blk.{layer}")
        decoder.norm(f"blk.{layer}.attn_norm.weight")
        attention.layer(layer)
        decoder.norm(f"blk.{layer}.post_attention_norm.weight")
        if layer < sizes.n_dense_layers or experts is None:
            decoder.feed_forward(layer, dense_width)
        else:
            experts.layer(layer)
    decoder.head(embedding)
    weights.check_all_used(of_prediction(file))
    return decoder.program
