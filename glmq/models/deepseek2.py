"""GLM-4.7-Flash (`deepseek2`): multi-head latent attention and sigmoid-routed experts.

Follows Glm4MoeLiteForCausalLM of Hugging Face transformers. The softmax gating that some models of DeepSeek
themselves have is refused.
"""

from __future__ import annotations

from glmq_kernels.errors import GlmqError
from glmq_kernels.threads.tape import ActivationType

from ..gguf import GGUFFile
from ..program import Program
from ..weights import Weights
from .decoder import Decoder
from .expert_layers import SIGMOID, ExpertSizes, feed_forward
from .latent_attention import LatentAttention
from .latent_shape import LatentShape
from .metadata import EXPERTS, ROPE, SIZES, check_metadata
from .prediction_layer import add_prediction
from .rotary import read_rotary
from .trunk import of_prediction, trunk_layers

LATENT = frozenset(
    (
        "rope.scaling.yarn_log_multiplier",
        "attention.q_lora_rank",
        "attention.kv_lora_rank",
        "attention.key_length_mla",
        "attention.value_length_mla",
    )
)  # fmt: skip
"""Keys of latent attention, and of YaRN as models with it have it."""


def build(
    file: GGUFFile, weights: Weights, max_tokens: int, n_threads: int, cache_type: str,
    activations: ActivationType, prediction: Weights | None = None,
) -> Program:  # fmt: skip
    """The forward pass of a `deepseek2` file for batches of up to `max_tokens` (see `Build`)."""
    shape = LatentShape.from_gguf(file)
    check_metadata(file, SIZES | ROPE | EXPERTS | LATENT | {"nextn_predict_layers"}, shape.head_dim)
    n_layers, sizes = trunk_layers(file), ExpertSizes.from_gguf(file)
    sizes.check(file, n_layers)
    remarks = _check_gating(file)
    decoder = Decoder(
        file, weights, max_tokens, n_threads, cache_type, activations,
        layers=range(n_layers), cache=shape.cache(n_layers, cache_type, int(prediction is not None)),
        shape=shape, rotary=read_rotary(file, weights, shape.rope_dim, interleaved=True),
    )  # fmt: skip
    decoder.program.remarks += remarks
    dense_width = file.integer("deepseek2.feed_forward_length", 0)
    decoder.layers(LatentAttention(decoder, shape), "ffn_norm", feed_forward(decoder, sizes, dense_width))
    weights.check_all_used(of_prediction(file))
    rewritten = dict(weights.rewritten)
    if prediction is not None:
        add_prediction(decoder, prediction, lambda layer: LatentAttention(layer, shape), "ffn_norm")
        rewritten |= prediction.rewritten
    decoder.program.rewritten_bytes = sum(each.nbytes for each in rewritten.values())
    return decoder.program


def _check_gating(file: GGUFFile) -> list[str]:
    """Refuse experts that are not chosen by sigmoid scores; what is to be said of a file that hides it.

    Files of GLM-4.7-Flash from before 21 January 2026 say softmax or nothing: their corrections of scores
    (`exp_probs_b`) show that they mean sigmoid.
    """
    gating = file.integer("deepseek2.expert_gating_func", 0)
    if gating == SIGMOID:
        return []
    if gating in (0, 1) and any(".exp_probs_b" in name for name in file.tensors):
        said = "does not say how experts are chosen" if gating == 0 else "says that softmax chooses experts"
        return [f"{file.path.name} {said}; its tensors show that it is by sigmoid, and so they are chosen"]
    raise GlmqError(
        f"{file.path}: expert_gating_func {gating} is not GLM's sigmoid ({SIGMOID}) but as in DeepSeek's own;"
        " of this architecture glmq runs GLM-4.7-Flash"
    )
