"""Checkpoints of GLM-4.7-Flash's kind as files of llama.cpp's architecture `deepseek2`."""

from __future__ import annotations

import shutil

import gguf
import numpy as np
import pytest
from glmq_convert.conversion import convert
from glmq_convert.lite_config import Glm4MoeLiteConfig, parse_lite_config
from glmq_kernels.errors import GlmqError

import glmq
from glmq.gguf import open_gguf

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints

RELEASED = {
    "model_type": "glm4_moe_lite", "vocab_size": 154880, "hidden_size": 2048, "num_hidden_layers": 47,
    "first_k_dense_replace": 1, "intermediate_size": 10240, "moe_intermediate_size": 1536,
    "n_routed_experts": 64, "num_experts_per_tok": 4, "n_shared_experts": 1, "n_group": 1, "topk_group": 1,
    "norm_topk_prob": True, "routed_scaling_factor": 1.8, "topk_method": "noaux_tc",
    "num_attention_heads": 20, "num_key_value_heads": 20, "q_lora_rank": 768, "kv_lora_rank": 512,
    "qk_nope_head_dim": 192, "qk_rope_head_dim": 64, "v_head_dim": 256, "attention_bias": False,
    "rope_theta": 1000000, "rope_scaling": None, "partial_rotary_factor": 1.0, "rms_norm_eps": 1e-5,
    "max_position_embeddings": 202752, "tie_word_embeddings": False, "num_nextn_predict_layers": 1,
    "eos_token_id": [154820, 154827, 154829], "pad_token_id": 154820, "dtype": "bfloat16",
}  # fmt: skip
"""The configuration of GLM-4.7-Flash."""


def test_the_released_configuration():
    config = parse_lite_config(RELEASED)
    assert isinstance(config, Glm4MoeLiteConfig)
    assert (config.q_lora_rank, config.kv_lora_rank, config.qk_head_dim, config.v_head_dim) == (
        768, 512, 256, 256,
    )  # fmt: skip
    assert (config.rope_theta, config.rope_interleave, config.first_k_dense_replace) == (1e6, True, 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"attention_bias": True}, "attention_bias"),
        ({"partial_rotary_factor": 0.5}, "rotates whole heads"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0, "mscale_all_dim": 1.0}}, "mscale_all_dim"),
        ({"mlp_layer_types": ["sparse", "dense"] + ["sparse"] * 45}, "mlp_layer_types"),
        ({"mlp_layer_types": ["dense"]}, "mlp_layer_types"),
        ({"qk_rope_head_dim": 63}, "qk_rope_head_dim"),
        ({"num_experts_per_tok": 65}, "num_experts_per_tok"),
        ({"index_topk": 2048}, "index_topk"),
        ({"scoring_func": "softmax"}, "scoring_func"),
    ],
    ids=str,
)
def test_configurations_that_gguf_cannot_say(change, named):
    with pytest.raises(GlmqError, match=named):
        parse_lite_config(RELEASED | change)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "GLM-Tiny-Flash"
    checkpoints.save_checkpoint(folder, kind="glm4_moe_lite", mtp=True, dtype="bfloat16")
    return folder


def test_metadata(plain, tmp_path):
    with open_gguf(convert(plain, tmp_path, mtp=False)) as file:
        expected = {
            "general.architecture": "deepseek2",
            "deepseek2.block_count": 3,
            "deepseek2.context_length": 512,
            "deepseek2.embedding_length": 96,
            "deepseek2.feed_forward_length": 160,
            "deepseek2.attention.head_count": 4,
            "deepseek2.attention.head_count_kv": 1,
            "deepseek2.attention.q_lora_rank": 48,
            "deepseek2.attention.kv_lora_rank": 32,
            "deepseek2.attention.key_length": 48,
            "deepseek2.attention.value_length": 32,
            "deepseek2.attention.key_length_mla": 40,
            "deepseek2.attention.value_length_mla": 40,
            "deepseek2.rope.dimension_count": 16,
            "deepseek2.rope.freq_base": 1e6,
            "deepseek2.expert_count": 8,
            "deepseek2.expert_used_count": 3,
            "deepseek2.expert_shared_count": 1,
            "deepseek2.expert_feed_forward_length": 64,
            "deepseek2.expert_group_count": 1,
            "deepseek2.expert_group_used_count": 1,
            "deepseek2.expert_gating_func": 2,
            "deepseek2.expert_weights_norm": True,
            "deepseek2.leading_dense_block_count": 1,
            "deepseek2.vocab_size": 400,
        }
        assert {key: file.metadata[key] for key in expected} == expected
        assert file.metadata["deepseek2.expert_weights_scale"] == pytest.approx(1.8)
        assert "deepseek2.nextn_predict_layers" not in file.metadata


def test_names_and_shapes(plain, tmp_path):
    with open_gguf(convert(plain, tmp_path, "q4_0", mtp=False)) as file:
        found = {name: (info.shape, info.type) for name, info in file.tensors.items()}
    expected = {
        "attn_norm.weight": ((96,), "F32"),
        "attn_q_a.weight": ((48, 96), "Q4_0"),
        "attn_q_a_norm.weight": ((48,), "F32"),
        "attn_q_b.weight": ((160, 48), "F16"),
        "attn_kv_a_mqa.weight": ((48, 96), "Q4_0"),
        "attn_kv_a_norm.weight": ((32,), "F32"),
        "attn_k_b.weight": ((4, 32, 24), "F16"),
        "attn_v_b.weight": ((4, 40, 32), "Q8_0"),
        "attn_output.weight": ((96, 160), "Q4_0"),
        "ffn_norm.weight": ((96,), "F32"),
        "ffn_gate_inp.weight": ((8, 96), "F32"),
        "exp_probs_b.bias": ((8,), "F32"),
        "ffn_gate_exps.weight": ((8, 64, 96), "Q4_0"),
        "ffn_up_exps.weight": ((8, 64, 96), "Q4_0"),
        "ffn_down_exps.weight": ((8, 96, 64), "Q4_0"),
        "ffn_gate_shexp.weight": ((64, 96), "Q4_0"),
        "ffn_up_shexp.weight": ((64, 96), "Q4_0"),
        "ffn_down_shexp.weight": ((96, 64), "Q4_0"),
    }
    of_block = {
        name.removeprefix("blk.1."): info for name, info in found.items() if name.startswith("blk.1.")
    }
    assert of_block == expected
    assert len(found) == 3 + (10 + 3) + 2 * 18, "as 47 layers make 844"


@pytest.mark.parametrize("type_name", ("f32", "bf16", "q8_0", "q4_0"))
def test_keys_are_turned_and_values_are_not(tmp_path, type_name):
    checkpoints.save_checkpoint(tmp_path, kind="glm4_moe_lite", qk_nope_head_dim=32, dtype="bfloat16")
    weights = checkpoints.load_weights(tmp_path)["model.layers.2.self_attn.kv_b_proj.weight"].float().numpy()
    by_head = weights.reshape(4, 32 + 40, 32)
    kind = "Q8_0" if type_name == "q4_0" else type_name.upper()
    with open_gguf(convert(tmp_path, tmp_path / "model.gguf", type_name)) as file:
        for name, values in (
            ("attn_k_b", by_head[:, :32].transpose(0, 2, 1)),
            ("attn_v_b", by_head[:, 32:]),
        ):
            assert file.tensor(f"blk.2.{name}.weight").type == kind
            expected = gguf.quants.quantize(np.ascontiguousarray(values), gguf.GGMLQuantizationType[kind])
            assert file.data(f"blk.2.{name}.weight").tobytes() == expected.tobytes()


def test_portions_may_end_inside_a_head(plain, tmp_path, monkeypatch):
    whole = convert(plain, tmp_path / "whole.gguf")
    monkeypatch.setattr("glmq_convert.portions.PORTION_BYTES", 500)
    assert convert(plain, tmp_path / "portions.gguf").read_bytes() == whole.read_bytes()


def test_fused_experts_give_the_same_file(plain, tmp_path):
    shutil.copytree(plain, tmp_path / "GLM-Tiny-Flash")
    checkpoints.fuse_experts(tmp_path / "GLM-Tiny-Flash")
    fused = convert(tmp_path / "GLM-Tiny-Flash", tmp_path / "fused.gguf")
    assert fused.read_bytes() == convert(plain, tmp_path / "plain.gguf").read_bytes()


def test_dense_layers_by_either_key(plain, tmp_path):
    shutil.copytree(plain, tmp_path / "GLM-Tiny-Flash")
    checkpoints.change_config(
        tmp_path / "GLM-Tiny-Flash", mlp_layer_types=None, first_k_dense_replace=1, num_hidden_layers=3
    )
    older = convert(tmp_path / "GLM-Tiny-Flash", tmp_path / "older.gguf")
    assert older.read_bytes() == convert(plain, tmp_path / "plain.gguf").read_bytes()


def test_the_layer_of_multi_token_prediction_is_kept_and_changes_nothing(plain, tmp_path):
    logits = []
    for mtp in (True, False):
        path = convert(plain, tmp_path / f"{mtp}.gguf", mtp=mtp)
        with open_gguf(path) as file:
            assert file.metadata["deepseek2.block_count"] == 3 + mtp
            assert ("blk.3.nextn.eh_proj.weight" in file.tensors) == mtp
            assert ("blk.3.attn_k_b.weight" in file.tensors) == mtp
        with glmq.load(path) as model:
            logits.append(model.logits([1, 2, 3]))
    np.testing.assert_array_equal(*logits)


@pytest.mark.parametrize(
    "name", ("model.layers.1.self_attn.kv_b_proj.weight", "model.layers.2.self_attn.q_a_layernorm.weight")
)
def test_a_missing_tensor_is_named(plain, tmp_path, name):
    shutil.copytree(plain, tmp_path / "copy")
    checkpoints.change_weights(tmp_path / "copy", lambda tensors: tensors.pop(name))
    with pytest.raises(GlmqError, match=name):
        convert(tmp_path / "copy", tmp_path / "model.gguf")


def test_a_key_that_is_no_number_is_named(plain, tmp_path):
    name = "model.layers.1.self_attn.kv_b_proj.weight"
    shutil.copytree(plain, tmp_path / "copy")

    def spoil(tensors):
        tensors[name][3, 4] = float("nan")

    checkpoints.change_weights(tmp_path / "copy", spoil)
    with pytest.raises(GlmqError, match=name):
        convert(tmp_path / "copy", tmp_path / "model.gguf")
