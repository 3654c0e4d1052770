"""Files that are sound but cannot be run are refused by name, with a way out."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

import glmq

from .small_models import SmallModel, write_glm4moe, write_llama


def refusal(path):
    with pytest.raises(GlmqError) as found:
        glmq.load(path)
    message = str(found.value)
    assert "\n" not in message
    return message


def header_only(path, architecture):
    SmallModel(path, architecture, "F32", 0).finish()
    return path


@pytest.mark.parametrize(
    ("architecture", "named"),
    [("glm-dsa", "GLM-5"), ("glm4", "GLM-4 dense"), ("martian", "'martian'")],
)
def test_other_architectures(tmp_path, architecture, named):
    message = refusal(header_only(tmp_path / "other.gguf", architecture))
    assert named in message
    assert "choose" in message


def renamed(path, old, new):
    """The same file with a name of the same length in it changed everywhere."""
    assert len(old) == len(new)
    content = path.read_bytes()
    assert old.encode() in content
    path.write_bytes(content.replace(old.encode(), new.encode()))
    return path


def test_a_missing_tensor_is_named(tmp_path):
    path = write_glm4moe(tmp_path / "model.gguf", "Q8_0")
    renamed(path, "blk.1.ffn_up_exps.weight", "blk.1.ffn_oh_exps.weight")
    assert "blk.1.ffn_up_exps.weight" in refusal(path)


def test_a_file_of_multi_token_prediction_layers_only(tmp_path):
    path = write_glm4moe(tmp_path / "model.gguf", "Q8_0")
    renamed(path, "blk.0.attn_norm.weight", "blk.9.attn_norm.weight")
    assert "multi-token-prediction" in refusal(path)


def test_another_gating_function(tmp_path):
    path = write_glm4moe(tmp_path / "model.gguf", "Q8_0")
    content = path.read_bytes()
    at = content.index(b"glm4moe.expert_gating_func") + len("glm4moe.expert_gating_func") + 4
    path.write_bytes(content[:at] + b"\x01" + content[at + 1 :])
    assert "sigmoid" in refusal(path)


def test_a_tensor_type_without_kernels(tmp_path):
    path = write_llama(tmp_path / "model.gguf", "F16")
    reader = gguf.GGUFReader(path, "r+")
    tensor = next(each for each in reader.tensors if each.name == "blk.0.attn_q.weight")
    tensor.field.parts[4][0] = gguf.GGMLQuantizationType.NVFP4
    del reader
    message = refusal(path)
    assert "blk.0.attn_q.weight" in message
    assert "NVFP4" in message
    assert "Q4_0" in message


@pytest.mark.parametrize("count", (80, 96, 112, 120, 160))
def test_any_number_of_experts_runs(tmp_path, monkeypatch, count):
    """As in pruned files."""
    from . import small_models

    monkeypatch.setattr(small_models, "N_EXPERTS", count)
    monkeypatch.setattr(small_models, "EXPERT_WIDTH", 32)
    monkeypatch.setattr(small_models, "TOP_K", 8)
    monkeypatch.setattr(small_models, "N_LAYERS", 2)
    with glmq.load(write_glm4moe(tmp_path / "model.gguf", "Q8_0")) as model:
        tokens = list(range(40))
        whole = model.logits(tokens)
        session = model.session()
        single = np.concatenate([session.evaluate_all([token]) for token in tokens])
    assert np.isfinite(whole).all()
    assert np.abs(whole - single).mean() < 0.01 * np.ptp(whole)
