"""Dense Llama checkpoints: files as llama.cpp writes them, with the logits of transformers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from glmq_convert.conversion import convert
from glmq_convert.llama_config import parse_llama_config
from glmq_convert.rope import RopeScaling, frequency_divisors
from glmq_kernels.errors import GlmqError

import glmq
from glmq.gguf import open_gguf

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints  # noqa: E402

LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
YARN = {
    "rope_type": "yarn",
    "rope_theta": 1e4,
    "factor": 4.0,
    "original_max_position_embeddings": 128,
}
VARIANTS = {
    "plain": {},
    "biases": {"attention_bias": True},
    "tied head": {"tie_word_embeddings": True},
    "own head size": {"head_dim": 16},
    "as many kv heads": {"num_key_value_heads": 4},
    "of Llama 3.1": {"rope_parameters": LLAMA3},
    "stretched by YaRN": {"rope_parameters": YARN},
    "stretched linearly": {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
}
CONTENT = {"model_type": "llama", "hidden_size": 96, "num_attention_heads": 4, "vocab_size": 400}


@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
def test_logits_are_those_of_transformers(tmp_path, variant):
    reference = checkpoints.save_checkpoint(tmp_path, kind="llama", **variant)
    tokens = torch.randint(0, 330, (48,), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = reference(tokens[None]).logits[0].numpy()
    with glmq.load(convert(tmp_path, tmp_path / "model.gguf", "f32"), cache_type="F32") as model:
        assert model.architecture == "llama"
        found = model.logits(tokens.tolist())
    assert np.abs(found - expected).max() < 2e-5 * np.ptp(expected)


def test_metadata_and_tensors(tmp_path):
    checkpoints.save_checkpoint(tmp_path, kind="llama", head_dim=24)
    with open_gguf(convert(tmp_path, tmp_path / "model.gguf", "q8_0")) as file:
        expected = {
            "general.architecture": "llama",
            "llama.block_count": 2,
            "llama.context_length": 512,
            "llama.embedding_length": 96,
            "llama.feed_forward_length": 160,
            "llama.attention.head_count": 4,
            "llama.attention.head_count_kv": 2,
            "llama.rope.dimension_count": 24,
            "llama.vocab_size": 400,
        }
        assert {key: file.metadata[key] for key in expected} == expected
        assert not [key for key in file.metadata if "expert" in key or "nextn" in key or "key_length" in key]
        of_block = {name[6:] for name in file.tensors if name.startswith("blk.1.")}
        assert of_block == {
            "attn_norm.weight", "attn_q.weight", "attn_k.weight", "attn_v.weight", "attn_output.weight",
            "ffn_norm.weight", "ffn_gate.weight", "ffn_up.weight", "ffn_down.weight",
        }  # fmt: skip
        assert len(file.tensors) == 3 + 2 * 9


@pytest.mark.parametrize("portion", (1 << 20, 4 * 96 * 5))
def test_rows_of_queries_and_keys_are_interleaved(tmp_path, monkeypatch, portion):
    """As llama.cpp's conversion does it, also where portions end inside heads."""
    monkeypatch.setattr("glmq_convert.gguf_writer.PORTION_BYTES", portion)
    checkpoints.save_checkpoint(tmp_path, kind="llama", attention_bias=True)
    weights = checkpoints.load_weights(tmp_path)
    with open_gguf(convert(tmp_path, tmp_path / "model.gguf", "f32")) as file:
        for part, n_heads in (("q", 4), ("k", 2)):
            for kind in ("weight", "bias"):
                source = weights[f"model.layers.1.self_attn.{part}_proj.{kind}"].numpy()
                heads = source.reshape(n_heads, 2, 16, -1).swapaxes(1, 2).reshape(source.shape)
                found = file.data(f"blk.1.attn_{part}.{kind}").view(np.float32).reshape(source.shape)
                np.testing.assert_array_equal(found, heads)


def test_divisors_of_llama3_are_between_one_and_the_factor():
    """A frequency that turns more than high_freq_factor times stays, one below low_freq_factor is divided."""
    scaling = RopeScaling("llama3", 8.0, 8192, low_freq_factor=1.0, high_freq_factor=4.0)
    found = frequency_divisors(scaling, 5e5, 128)
    turns = 8192 / (2 * math.pi) * 5e5 ** (-np.arange(0, 128, 2) / 128)
    np.testing.assert_array_equal(found[turns >= 4], 1)
    np.testing.assert_array_equal(found[turns <= 1], 8)
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"mlp_bias": True}, "mlp_bias"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor"),
        ({"num_key_value_heads": 3}, "do not divide"),
        ({"head_dim": 15}, "head_dim"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"rope_scaling": {"rope_type": "longrope", "factor": 2.0}}, "longrope"),
        ({"rope_scaling": {**LLAMA3, "low_freq_factor": 4.0}}, "low_freq_factor"),
        ({"rope_scaling": {key: LLAMA3[key] for key in LLAMA3 if key != "factor"}}, "needs a factor"),
    ],
)
def test_what_cannot_be_converted_is_named(fields, named):
    with pytest.raises(GlmqError, match=named):
        parse_llama_config(CONTENT | fields)


def test_llama3_stretching_is_of_llama_alone(tmp_path):
    checkpoints.save_checkpoint(tmp_path)
    checkpoints.change_config(tmp_path, rope_scaling=LLAMA3)
    with pytest.raises(GlmqError, match="llama3"):
        convert(tmp_path, tmp_path / "model.gguf")


def test_a_layer_too_many_is_named(tmp_path):
    checkpoints.save_checkpoint(tmp_path, kind="llama")
    checkpoints.change_config(tmp_path, num_hidden_layers=1)
    with pytest.raises(GlmqError, match=r"model\.layers\.1\.") as found:
        convert(tmp_path, tmp_path / "model.gguf")
    assert "prediction" not in str(found.value)
