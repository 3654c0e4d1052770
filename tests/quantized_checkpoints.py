"""Checkpoints quantized to eight bits as released ones are, and the floats that they stand for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import torch

from . import glm4_moe_checkpoints as checkpoints

LINEAR = re.compile(
    r"(self_attn\..*_proj(_with_mqa)?|mlp\.(gate|up|down)_proj|(shared_)?experts\.(\d+\.)?(gate|up|down)_proj"
    r"|shared_head\.head)\.weight$"
    r"|experts\.(gate_up|down)_proj$"
)
"""Names of the weights that releases quantize."""

LARGEST = {torch.float8_e4m3fn: 448.0, torch.int8: 127.0}
BLOCK = 32  # small, as the models are

COMPRESSED = "compressed-tensors"
CONFIGS = {
    "channel": {
        "quant_method": COMPRESSED,
        "format": "float-quantized",
        "config_groups": {
            "group_0": {
                "targets": ["Linear"],
                "weights": {"num_bits": 8, "type": "float", "strategy": "channel", "symmetric": True},
                "input_activations": {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True},
            }
        },
        "ignore": ["lm_head", "model.layers.0.self_attn.q_proj"],  # the last one wrongly
    },
    "tensor": {
        "quant_method": COMPRESSED,
        "format": "float-quantized",
        "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float", "strategy": "tensor"}}},
    },
    "block": {
        "quant_method": COMPRESSED,
        "format": "float-quantized",
        "config_groups": {
            "group_0": {"weights": {"num_bits": 8, "strategy": "block", "block_structure": [BLOCK, BLOCK]}}
        },
    },
    "inverse block": {"quant_method": "fp8", "weight_block_size": [BLOCK, BLOCK]},
    "group": {"quant_method": COMPRESSED, "format": "int-quantized"},
}
"""quantization_config by the strategy of the scales."""


def quantize_checkpoint(
    folder: Path, strategy: str, code: torch.dtype = torch.float8_e4m3fn, scale: torch.dtype = torch.bfloat16
) -> dict[str, torch.Tensor]:
    """Quantize the weights of a saved checkpoint; gives what all its weights then stand for, float32.

    strategy: one of `CONFIGS`.
    """
    stands_for = {}

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if LINEAR.search(name)]:
            codes, scales, values = quantized(tensors[name].float(), strategy, code, scale)
            ending = "_scale_inv" if strategy == "inverse block" else "_scale"
            tensors[name], tensors[name + ending] = codes, scales
            stands_for[name] = values

    checkpoints.change_weights(folder, change)
    checkpoints.change_config(folder, quantization_config=CONFIGS[strategy])
    rest = {name: value.float() for name, value in checkpoints.load_weights(folder).items()}
    return {
        name: value for name, value in rest.items() if not re.search(r"_scale(_inv)?$", name)
    } | stands_for


def quantized(
    weights: torch.Tensor, strategy: str, code: torch.dtype, scale_type: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, scales, and their products in float32 of a weight (..., out, in)."""
    *lead, rows, columns = weights.shape
    block = {
        "channel": (1, columns), "tensor": (rows, columns), "block": (BLOCK, BLOCK),
        "inverse block": (BLOCK, BLOCK), "group": (1, BLOCK // 2),
    }[strategy]  # fmt: skip
    spread = [torch.arange(n) // size for n, size in zip((rows, columns), block, strict=True)]
    n_blocks = [int(index[-1]) + 1 for index in spread]
    scales = torch.zeros(*lead, *n_blocks)
    for r in range(n_blocks[0]):
        for c in range(n_blocks[1]):
            part = weights[..., r * block[0] : (r + 1) * block[0], c * block[1] : (c + 1) * block[1]]
            scales[..., r, c] = part.abs().amax((-2, -1)) / LARGEST[code]
    scales = scales.to(scale_type)
    of_each = scales.float()[..., spread[0], :][..., spread[1]]
    codes = (weights / of_each).clamp(-LARGEST[code], LARGEST[code])
    codes = (codes.round() if code == torch.int8 else codes).to(code)
    if strategy == "tensor":
        scales = scales.reshape(*lead, 1)
    return codes, scales, codes.float() * of_each


def write_as_floats(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Put float weights into a folder in place of those that are there."""
    checkpoints.write_weights(folder, {"model.safetensors": weights})
    path = folder / "config.json"
    config = json.loads(path.read_text())
    del config["quantization_config"]
    path.write_text(json.dumps(config))
