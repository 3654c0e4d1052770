"""Llama and its relatives (`llama`): a dense decoder with interleaved rotary pairs.

GGUF files of this architecture hold q and k with their rows permuted so that rotary pairs are neighbours.
"""

from __future__ import annotations

from glmq_kernels.errors import GlmqError
from glmq_kernels.threads.tape import ActivationType

from ..gguf import GGUFFile
from ..program import Program
from ..weights import Weights
from .decoder import Decoder
from .grouped_query_attention import AttentionShape, GroupedQueryAttention
from .metadata import ROPE, SIZES, check_metadata
from .rotary import read_rotary


def build(
    file: GGUFFile, weights: Weights, max_tokens: int, n_threads: int, cache_type: str,
    activations: ActivationType, prediction: Weights | None = None,
) -> Program:  # fmt: skip
    """The forward pass of a `llama` file for batches of up to `max_tokens`."""
    if prediction is not None:
        raise GlmqError(f"{file.path} is a Llama, for which there are no layers of multi-token prediction")

    def integer(key: str, default: int | None = None, least: int = 0) -> int:
        return file.integer(f"llama.{key}", default, least)

    if integer("expert_count", 0):
        raise GlmqError(f"{file.path} is a Llama with experts (Mixtral), which glmq does not run")
    n_layers, shape = integer("block_count", least=1), AttentionShape.from_gguf(file)
    check_metadata(file, SIZES | ROPE, shape.head_dim, {"tensor_data_layout": ("Meta AI original pth",)})
    decoder = Decoder(
        file, weights, max_tokens, n_threads, cache_type, activations,
        layers=range(n_layers), cache=shape.cache(n_layers, cache_type), shape=shape,
        rotary=read_rotary(file, weights, shape.head_dim, interleaved=True),
    )  # fmt: skip
    width = integer("feed_forward_length")
    decoder.layers(
        GroupedQueryAttention(decoder, shape), "ffn_norm", lambda layer: decoder.feed_forward(layer, width)
    )
    weights.check_all_used()
    return decoder.program
