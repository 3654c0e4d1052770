"""config.json means what transformers takes it to mean; what GGUF cannot say is refused by name."""

from __future__ import annotations

import copy
import json

import gguf
import numpy as np
import pytest
from glmq_convert import glm4_moe
from glmq_convert.config import parse_config
from glmq_convert.conversion import convert
from glmq_convert.model_config import NEUTRAL
from glmq_kernels.errors import GlmqError

from glmq.gguf import open_gguf
from glmq.models.rotary import read_rotary
from glmq.weights import Weights

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from transformers import Glm4MoeConfig  # noqa: E402
from transformers.models.glm4_moe.modeling_glm4_moe import Glm4MoeRotaryEmbedding  # noqa: E402

from tests import glm4_moe_checkpoints as checkpoints  # noqa: E402

GLM = {"model_type": "glm4_moe", "head_dim": 64, "max_position_embeddings": 512}
LINEAR = {"rope_type": "linear", "factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
DEFAULT = {"rope_type": "default", "rope_theta": 1e6, "partial_rotary_factor": 0.25}

ROPES = {
    "nothing": {},
    "at the top": {"rope_theta": 1e6, "partial_rotary_factor": 0.25},
    "inside": {"rope_parameters": DEFAULT},
    "inside before the top": {"rope_parameters": DEFAULT, "rope_theta": 5e3, "partial_rotary_factor": 1.0},
    "rope_scaling instead": {"rope_scaling": {"type": "linear", "factor": 2.0}, "rope_theta": 1e6},
    "both": {"rope_parameters": DEFAULT, "rope_scaling": {"type": "linear", "factor": 2.0}},
    "both, and the top": {"rope_parameters": DEFAULT, "rope_scaling": LINEAR, "rope_theta": 7e4},
    "both, the older empty": {"rope_parameters": LINEAR, "rope_scaling": {}},
    "both, the older null": {"rope_parameters": LINEAR, "rope_scaling": None},
    "both, the newer null": {"rope_parameters": None, "rope_scaling": YARN},
    "both, YaRN": {"rope_parameters": {**YARN, "factor": 9.0}, "rope_scaling": {**YARN, "rope_theta": 1e5}},
    "two names of the kind": {"rope_scaling": {"type": "yarn", "rope_type": "linear", "factor": 3.0}},
    "linear": {"rope_parameters": {**LINEAR, "rope_theta": 1e6}},
    "YaRN": {"rope_parameters": {**YARN, "rope_theta": 1e6}},
    "YaRN, context from the model": {"rope_parameters": {"rope_type": "yarn", "factor": 4.0}},
    "YaRN, context from the top": {"rope_parameters": YARN, "original_max_position_embeddings": 64},
    "YaRN, factor from the contexts": {"rope_parameters": {**YARN, "factor": None}},
    "YaRN, amplitude": {"rope_parameters": {**YARN, "attention_factor": 0.7}},
    "YaRN, scales": {"rope_parameters": {**YARN, "mscale": 0.7, "mscale_all_dim": 1.1}},
    "YaRN, one scale": {"rope_parameters": {**YARN, "mscale": 0.7}},
    "YaRN, turns": {"rope_parameters": {**YARN, "beta_fast": 12, "beta_slow": 2.5}},
    "YaRN, no turns": {"rope_parameters": {**YARN, "beta_fast": None, "beta_slow": 0}},
    "YaRN, factor 1": {"rope_parameters": {**YARN, "factor": 1.0}},
    "YaRN, whole heads": {"rope_parameters": {**YARN, "partial_rotary_factor": 1.0}},
}


@pytest.mark.parametrize("fields", ROPES.values(), ids=ROPES.keys())
def test_rotary_embedding_is_that_of_transformers(tmp_path, fields):
    reference = Glm4MoeRotaryEmbedding(Glm4MoeConfig.from_dict(copy.deepcopy(GLM | fields)))
    config = parse_config(GLM | fields)
    writer = gguf.GGUFWriter(tmp_path / "model.gguf", "glm4moe")
    glm4_moe.add_metadata(writer, config, 0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()
    with open_gguf(tmp_path / "model.gguf") as file:
        rotary = read_rotary(file, Weights(file), config.rotary_dim, interleaved=False)
    np.testing.assert_allclose(rotary.frequencies, reference.inv_freq.numpy(), rtol=2e-6)
    assert rotary.amplitude == pytest.approx(reference.attention_scaling, rel=1e-6)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_type 'dynamic'"),
        ({"rope_scaling": {"type": "longrope", "long_factor": [1.0]}}, "rope_type 'longrope'"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8.0}}, "rope_type 'llama3'"),
        ({"rope_parameters": {"rope_type": "linear"}}, "needs a factor"),
        ({"rope_parameters": {**LINEAR, "factor": 0}}, "factor is 0"),
        ({"rope_parameters": {**YARN, "truncate": False}}, "truncate"),
        ({"rope_parameters": {"full_attention": DEFAULT}}, "full_attention"),
        ({"rope_parameters": {**DEFAULT, "mrope_section": [8, 12, 12]}}, "mrope_section"),
        ({"rope_parameters": [1]}, "rope_parameters is a list of 1"),
        ({"rope_theta": 0}, "rope_theta is 0"),
        ({"rope_theta": 1e-9}, "rope_theta is 1e-09"),
        ({"rope_parameters": {**LINEAR, "factor": 1e29}}, "factor of rope_type linear is 1e.29"),
        ({"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        ({"sliding_window": 128}, "sliding_window is 128"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
        ({"scoring_func": "softmax"}, "scoring_func is 'softmax'"),
        ({"shared_expert_intermediate_size": 99}, "shared_expert_intermediate_size is 99"),
        ({"routed_scaling_factor": None}, "routed_scaling_factor is null"),
        ({"norm_topk_prob": "false"}, "norm_topk_prob is 'false'"),
        ({"n_group": 2, "topk_group": 3}, "groups"),
    ],
)
def test_what_cannot_be_converted_is_named(fields, named):
    with pytest.raises(GlmqError, match=named):
        parse_config(GLM | fields)


@pytest.mark.parametrize("key", NEUTRAL)
def test_parts_that_glm_models_do_not_have_are_named(key):
    for neutral in (*NEUTRAL[key], None):
        parse_config(GLM | {key: neutral})
    other = True if NEUTRAL[key] == (False, 0) else False if key == "is_causal" else "another"
    with pytest.raises(GlmqError, match=f"{key} is "):
        parse_config(GLM | {key: other})


def test_a_wide_sliding_window_is_none():
    parse_config(GLM | {"sliding_window": 512})


class TestQuantizationConfig:
    """Of weights that it no longer describes."""

    def test_left_over_it_is_passed_over_with_a_remark(self, tmp_path):
        checkpoints.save_checkpoint(tmp_path / "GLM", dtype="bfloat16")
        checkpoints.change_config(tmp_path / "GLM", quantization_config={"quant_method": "fp8"})
        remarks = []
        convert(tmp_path / "GLM", tmp_path / "model.gguf", remark=remarks.append)
        assert [remark for remark in remarks if "fp8" in remark and "not quantized" in remark]


class TestSpecialTokens:
    """Ends of a generation come from every file that names them."""

    def test_ends_of_config_and_generation_config(self, tmp_path):
        checkpoints.save_checkpoint(tmp_path / "GLM")
        vocabulary = json.loads((tmp_path / "GLM" / "tokenizer.json").read_text())["added_tokens"]
        ids = {token["content"]: token["id"] for token in vocabulary}
        checkpoints.change_config(tmp_path / "GLM", eos_token_id=[ids["<|endoftext|>"], ids["[MASK]"]])
        (tmp_path / "GLM" / "generation_config.json").write_text(json.dumps({"eos_token_id": ids["<eop>"]}))
        with open_gguf(convert(tmp_path / "GLM", tmp_path / "model.gguf")) as file:
            expected = sorted(ids[text] for text in ("<|endoftext|>", "[MASK]", "<eop>"))
            assert file.metadata["tokenizer.ggml.eos_token_ids"].tolist() == expected
            assert file.metadata["tokenizer.ggml.eos_token_id"] == ids["<|endoftext|>"]

    @pytest.mark.parametrize(("takes_whole", "pre"), [(True, "glm4"), (False, "chatglm-bpe")])
    def test_the_name_says_whether_known_pieces_are_taken_whole(self, tmp_path, takes_whole, pre):
        checkpoints.save_checkpoint(tmp_path / "GLM")
        path = tmp_path / "GLM" / "tokenizer.json"
        content = json.loads(path.read_text())
        content["model"]["ignore_merges"] = takes_whole
        path.write_text(json.dumps(content))
        with open_gguf(convert(tmp_path / "GLM", tmp_path / "model.gguf")) as file:
            assert file.metadata["tokenizer.ggml.pre"] == pre
