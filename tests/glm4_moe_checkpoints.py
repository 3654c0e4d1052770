"""Small random Glm4Moe, Glm4MoeLite and Llama checkpoints, saved the way transformers saves real ones.

Needs torch and transformers. Weights have the scale of a trained network's (activations stay near 1,
logits spread over several units), so that comparing logits means something.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    Glm4MoeConfig,
    Glm4MoeForCausalLM,
    Glm4MoeLiteConfig,
    Glm4MoeLiteForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

GLM_REGEX = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPECIAL_TOKENS = [
    "<|endoftext|>", "[MASK]", "[gMASK]", "[sMASK]", "<sop>", "<eop>",
    "<|system|>", "<|user|>", "<|assistant|>", "<|observation|>", "/nothink",
]  # fmt: skip
TEXT_TOKENS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]
TEMPLATE = (
    "[gMASK]<sop>{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
CORPUS = [
    "The quick brown fox jumps over the lazy dog; the other dogs were there, and the fox thought of them.",
    "In the beginning there was nothing but the thing itself, and that thing wasn't anything, they've said.",
    "Numbers: 1 12 123 1234 12345. Größe, naïve café, 東京, Привет мир. \t\n\n def f(x):\n  return x\n",
]
SMALL: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "moe_intermediate_size": 64,
    "n_routed_experts": 8,
    "num_experts_per_tok": 3,
    "n_shared_experts": 1,
    "first_k_dense_replace": 1,
    "max_position_embeddings": 512,
    "attention_bias": True,
    "use_qk_norm": False,
}


SMALL_LITE: dict[str, Any] = {
    **{key: SMALL[key] for key in SMALL if key not in ("head_dim", "use_qk_norm", "first_k_dense_replace")},
    "num_key_value_heads": 4,
    "q_lora_rank": 48,
    "kv_lora_rank": 32,
    "qk_nope_head_dim": 24,
    "qk_rope_head_dim": 16,
    "v_head_dim": 40,
    "attention_bias": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
    "rms_norm_eps": 1e-6,
}
"""With the epsilon that transformers takes for the norms inside attention whatever the configuration says."""

SMALL_LLAMA: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 96,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "attention_bias": False,
}

KINDS = {
    "glm4_moe": (Glm4MoeConfig, Glm4MoeForCausalLM, SMALL),
    "glm4_moe_lite": (Glm4MoeLiteConfig, Glm4MoeLiteForCausalLM, SMALL_LITE),
    "llama": (LlamaConfig, LlamaForCausalLM, SMALL_LLAMA),
}
Model = Glm4MoeForCausalLM | Glm4MoeLiteForCausalLM | LlamaForCausalLM


def save_checkpoint(
    folder: str | Path,
    *,
    kind: str = "glm4_moe",
    seed: int = 0,
    tokenizer: bool = True,
    dtype: str = "float32",
    mtp: bool = False,
    max_shard_size: str = "5GB",
    **config_overrides: Any,
) -> Model:
    """Save a random model (`SMALL` with overrides) into `folder`; gives it back, in float32.

    kind: "glm4_moe", or one of the other `KINDS` with sizes of its own.
    dtype: of the saved weights; the given model holds the same values. mtp: add the tensors of one
    multi-token-prediction layer, which transformers itself neither makes nor saves.
    """
    folder = Path(folder)
    model = random_model(seed, kind, **config_overrides)
    saved_type = getattr(torch, dtype)
    biases = {name: value.clone() for name, value in model.named_buffers() if "e_score" in name}
    model.to(saved_type)
    for name, value in model.named_buffers():
        if name in biases:
            value.data = biases[name]  # always float32, as in the real checkpoints
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    if mtp:
        add_mtp_layer(folder, model)
    if tokenizer:
        save_tokenizer(folder)
    return model.float().eval()


def random_model(seed: int = 0, kind: str = "glm4_moe", **config_overrides: Any) -> Model:
    """A model with random weights of realistic scale, float32."""
    config_type, model_type, sizes = KINDS[kind]
    model = model_type(config_type(**sizes | config_overrides))
    generator = torch.Generator().manual_seed(seed)

    def normal(value: torch.Tensor, deviation: float, mean: float = 0.0) -> None:
        value.copy_(mean + deviation * torch.randn(value.shape, generator=generator))

    width = model.config.hidden_size**-0.5
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("e_score_correction_bias"):
                normal(value, 0.1)
            elif name.endswith("norm.weight"):
                normal(value, 0.1, mean=1.0)
            elif name.endswith(".bias"):
                normal(value, 0.2)
            elif name.endswith("mlp.gate.weight") or name == "lm_head.weight":
                normal(value, 2 * width)
            elif name == "model.embed_tokens.weight":
                normal(value, 2 * width if model.config.tie_word_embeddings else 1.0)
            elif name.endswith(("weight", "_proj")):
                normal(value, value.shape[-1] ** -0.5)
    return model


def add_mtp_layer(folder: Path, model: Model, seed: int = 1) -> None:
    """Write one multi-token-prediction layer beside the saved weights, and an index over both files."""
    config = model.config
    n, h = config.num_hidden_layers, config.hidden_size
    generator = torch.Generator().manual_seed(seed)
    extra = {
        "eh_proj.weight": (h, 2 * h), "enorm.weight": (h,), "hnorm.weight": (h,),
        "shared_head.norm.weight": (h,), "shared_head.head.weight": (config.vocab_size, h),
        "embed_tokens.weight": (config.vocab_size, h),
    }  # fmt: skip
    tensors = load_weights(folder)
    last = f"model.layers.{n - 1}."
    shapes = {k[len(last) :]: v.shape for k, v in tensors.items() if k.startswith(last)} | extra
    added = {
        f"model.layers.{n}.{name}": (
            torch.randn(shape, generator=generator) * (shape[-1] ** -0.5) + (1.0 if "norm" in name else 0.0)
        ).to(torch.float32 if "e_score" in name else model.dtype)
        for name, shape in shapes.items()
    }
    write_weights(folder, {"model-main.safetensors": tensors, "model-mtp.safetensors": added})


def fuse_experts(folder: Path) -> None:
    """Rewrite a checkpoint's experts as stacked `experts.gate_up_proj` and `experts.down_proj`."""
    tensors = load_weights(folder)
    heads = sorted({k.split(".experts.")[0] for k in tensors if ".experts." in k})
    for head in heads:
        count = sum(k.startswith(f"{head}.experts.") and k.endswith("down_proj.weight") for k in tensors)
        parts = {
            part: torch.stack([tensors.pop(f"{head}.experts.{j}.{part}_proj.weight") for j in range(count)])
            for part in ("gate", "up", "down")
        }
        tensors[f"{head}.experts.gate_up_proj"] = torch.cat([parts["gate"], parts["up"]], dim=1)
        tensors[f"{head}.experts.down_proj"] = parts["down"]
    write_weights(folder, {"model.safetensors": tensors})


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    """Let `change` edit the tensors of a saved checkpoint in place, and save them again as one file."""
    tensors = load_weights(folder)
    change(tensors)
    write_weights(folder, {"model.safetensors": tensors})


def change_config(folder: Path, **values: Any) -> None:
    """Set keys of a saved checkpoint's config.json; None removes a key."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def load_weights(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a saved checkpoint."""
    tensors: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        tensors |= load_file(path)
    return tensors


def write_weights(folder: Path, files: dict[str, dict[str, torch.Tensor]]) -> None:
    """Replace a checkpoint's weights by these files; more than one get an index."""
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    for name, tensors in files.items():
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / name, {"format": "pt"})
    if len(files) > 1:
        weight_map = {tensor: name for name, tensors in files.items() for tensor in tensors}
        index = {"metadata": {}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def small_tokenizer(n_merges: int = 60) -> PreTrainedTokenizerFast:
    """A byte-level BPE with GLM's regex and special tokens: 256 bytes, merges, then the special tokens."""
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(GLM_REGEX), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(vocab_size=256 + n_merges, initial_alphabet=alphabet, show_progress=False),
    )
    bpe.add_special_tokens(SPECIAL_TOKENS)
    bpe.add_tokens(TEXT_TOKENS)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def save_tokenizer(folder: Path) -> None:
    """Save the small tokenizer into a checkpoint, with what transformers writes beside it."""
    small_tokenizer().save_pretrained(folder)
