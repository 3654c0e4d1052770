"""Weights of eight bits are the floats that compressed-tensors and transformers make of them, bit for bit.

Needs compressed-tensors and accelerate, which the extra `bench` has.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from glmq_convert.checkpoint import open_checkpoint
from glmq_convert.quantization import read_quantization
from glmq_convert.scaled_weights import scaled_weights

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("accelerate")
quantization = pytest.importorskip("compressed_tensors.quantization")

from transformers import AutoModelForCausalLM, FineGrainedFP8Config  # noqa: E402

from tests import glm4_moe_checkpoints as checkpoints  # noqa: E402
from tests import quantized_checkpoints as quantized  # noqa: E402

SIZES = {"hidden_size": 128, "num_hidden_layers": 2, "intermediate_size": 128}
FP8 = torch.float8_e4m3fn


def floats_of_codes(folder):
    """What glmq reads of every weight of eight bits."""
    weights, _ = scaled_weights(open_checkpoint(folder, 2), read_quantization(folder), 2)
    codes = [name for name in weights if weights[name].dtype in ("F8_E4M3", "I8")]
    found = {}
    for name in codes:
        shape = weights.shape(name)
        n_rows = math.prod(shape[:-1])
        buffer = np.empty(4 * n_rows * shape[-1], np.uint8)
        found[name] = weights.read(name, 0, n_rows, buffer).reshape(shape)
    return found


@pytest.mark.parametrize(
    ("strategy", "code"), [("channel", FP8), ("tensor", FP8), ("block", FP8), ("channel", torch.int8)]
)
def test_compressed_tensors(tmp_path, strategy, code):
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    checkpoints.save_checkpoint(tmp_path, dtype="bfloat16", **SIZES)
    quantized.quantize_checkpoint(tmp_path, strategy, code, torch.float32)
    stored = checkpoints.load_weights(tmp_path)
    block = {"block_structure": [quantized.BLOCK] * 2} if strategy == "block" else {}
    kind = "int" if code == torch.int8 else "float"
    args = quantization.QuantizationArgs(num_bits=8, type=kind, strategy=strategy, **block)
    found = floats_of_codes(tmp_path)
    assert len(found) == 38
    for name, values in found.items():
        expected = dequantize(stored[name], stored[f"{name}_scale"], args=args)
        np.testing.assert_array_equal(values, expected.numpy(), err_msg=name)


def test_transformers(tmp_path):
    checkpoints.save_checkpoint(tmp_path, dtype="bfloat16", **SIZES)
    quantized.quantize_checkpoint(tmp_path, "inverse block", FP8, torch.float32)
    config = FineGrainedFP8Config(
        weight_block_size=(quantized.BLOCK,) * 2, dequantize=True, modules_to_not_convert=["lm_head"]
    )
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32, quantization_config=config)
    expected = {name: value.numpy() for name, value in model.state_dict().items()}
    found = floats_of_codes(tmp_path)
    experts = "model.layers.1.mlp.experts."
    found[f"{experts}gate_up_proj"] = np.stack(
        [
            np.concatenate([found.pop(f"{experts}{j}.{part}_proj.weight") for part in ("gate", "up")])
            for j in range(8)
        ]
    )
    found[f"{experts}down_proj"] = np.stack([found.pop(f"{experts}{j}.down_proj.weight") for j in range(8)])
    for name, values in found.items():
        np.testing.assert_array_equal(values, expected[name], err_msg=name)
