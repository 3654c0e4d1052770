"""config.json of a dense Llama checkpoint (LlamaForCausalLM)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from glmq_kernels.errors import GlmqError

from .json_fields import flag, whole
from .model_config import ModelConfig, check_neutral, common_fields
from .rope import KINDS, parse_rope

MODEL_TYPE = "llama"


@dataclass(frozen=True, kw_only=True)
class LlamaConfig(ModelConfig):
    """What conversion needs of a Llama configuration, under the names that transformers uses."""

    KIND: ClassVar[str] = "Llama"
    DEFAULTS: ClassVar[Mapping[str, Any]] = {
        "vocab_size": 32000, "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
        "num_attention_heads": 32, "max_position_embeddings": 2048, "rms_norm_eps": 1e-6,
    }  # fmt: skip

    num_key_value_heads: int
    head_dim: int
    attention_bias: bool


def parse_llama_config(content: Mapping[str, Any]) -> LlamaConfig:
    """A configuration from the content of a config.json; absent keys have the class's defaults.

    Source: transformers' LlamaConfig. Raises GlmqError for what GGUF's `llama` cannot say.
    """
    max_positions = whole(content, "max_position_embeddings", LlamaConfig.DEFAULTS["max_position_embeddings"])
    rope = parse_rope(content, max_positions, partial_factor=1.0, kinds=(*KINDS, "llama3"))
    if rope.partial_factor != 1:
        raise GlmqError(f"partial_rotary_factor is {rope.partial_factor:g}; Llama rotates whole heads")
    common = common_fields(LlamaConfig, content, rope)
    n_heads = common["num_attention_heads"]
    kv_heads, head_dim = (content.get(key) is not None for key in ("num_key_value_heads", "head_dim"))
    config = LlamaConfig(
        **common,
        num_key_value_heads=whole(content, "num_key_value_heads", n_heads) if kv_heads else n_heads,
        head_dim=whole(content, "head_dim", 0) if head_dim else common["hidden_size"] // n_heads,
        attention_bias=flag(content, "attention_bias", False),
    )
    if n_heads % config.num_key_value_heads:
        raise GlmqError(
            f"{n_heads} attention heads do not divide among {config.num_key_value_heads} key/value heads"
        )
    if config.head_dim < 2 or config.head_dim % 2:
        raise GlmqError(f"head_dim is {config.head_dim}; pairs of dimensions rotate")
    check_neutral(content, config)
    return config
