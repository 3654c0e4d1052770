"""The layer of multi-token prediction of a checkpoint: kept, left out, absent, or in the way."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from glmq_convert.conversion import convert
from glmq_kernels.errors import GlmqError

from glmq.gguf import open_gguf

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints
from tests.glmq.test_command_line import run

LEAVE_OUT = "or leave the multi-token-prediction layer out"


@pytest.fixture(scope="module")
def with_mtp(tmp_path_factory):
    """Three layers, and one for multi-token prediction in a file of its own."""
    folder = tmp_path_factory.mktemp("mtp") / "GLM"
    checkpoints.save_checkpoint(folder, mtp=True)
    return folder


@pytest.fixture
def copy(with_mtp, tmp_path):
    shutil.copytree(with_mtp, tmp_path / "GLM")
    return tmp_path / "GLM"


def blocks(folder, tmp_path, mtp) -> int:
    with open_gguf(convert(folder, tmp_path / "model.gguf", mtp=mtp, force=True)) as file:
        count = file.integer("glm4moe.block_count")
        assert {int(name.split(".")[1]) for name in file.tensors if name.startswith("blk.")} == set(
            range(count)
        )
        return count


def refusal(folder, tmp_path) -> str:
    with pytest.raises(GlmqError) as found:
        convert(folder, tmp_path / "refused.gguf")
    assert "--" not in str(found.value)
    return str(found.value)


def test_without_it_its_file_is_not_needed(copy, tmp_path):
    (copy / "model-mtp.safetensors").unlink()
    assert blocks(copy, tmp_path, mtp=False) == 3
    message = refusal(copy, tmp_path)
    assert "model-mtp.safetensors" in message
    assert LEAVE_OUT in message


def test_without_it_its_file_may_be_damaged(copy, tmp_path):
    (copy / "model-mtp.safetensors").write_bytes(b"cut")
    assert blocks(copy, tmp_path, mtp=False) == 3


def test_without_it_the_files_of_the_model_are_still_needed(copy, tmp_path):
    (copy / "model-main.safetensors").unlink()
    with pytest.raises(GlmqError, match=r"model-main\.safetensors.* missing") as found:
        convert(copy, tmp_path / "model.gguf", mtp=False)
    assert LEAVE_OUT not in str(found.value)


@pytest.mark.parametrize("has_index", (True, False))
def test_its_file_need_not_be_in_the_index(copy, tmp_path, has_index):
    path = copy / "model.safetensors.index.json"
    (copy / "model-mtp.safetensors").rename(copy / "mtp.safetensors")
    index = json.loads(path.read_text())
    index["weight_map"] = {k: v for k, v in index["weight_map"].items() if "mtp" not in v}
    path.unlink()
    if has_index:
        path.write_text(json.dumps(index))
    assert blocks(copy, tmp_path, mtp=True) == 4
    assert blocks(copy, tmp_path, mtp=False) == 3


def test_it_need_not_have_an_embedding_and_a_head_of_its_own(copy, tmp_path):
    drop(copy, "3.embed_tokens.weight", "3.shared_head.head.weight")
    assert blocks(copy, tmp_path, mtp=True) == 4
    with open_gguf(tmp_path / "model.gguf") as file:
        nextn = {name.removeprefix("blk.3.nextn.") for name in file.tensors if "nextn" in name}
    assert nextn == {"eh_proj.weight", "enorm.weight", "hnorm.weight", "shared_head_norm.weight"}


def test_it_may_be_written_alone(copy, tmp_path):
    """With what files of all kinds hold, of the same numbers as in the file of all."""
    both = convert(copy, tmp_path / "model.gguf")
    alone = convert(copy, tmp_path, mtp="alone")
    assert alone.name == "mtp-GLM-Q8_0.gguf"
    with open_gguf(both) as whole, open_gguf(alone) as file:
        assert file.metadata["glm4moe.block_count"] == 4
        assert {name.split(".")[0] for name in file.tensors} == {"token_embd", "output_norm", "output", "blk"}
        assert all(name.startswith("blk.3.") for name in file.tensors if name.startswith("blk"))
        assert len(file.tensors) == 3 + sum(name.startswith("blk.3.") for name in whole.tensors)
        for name in file.tensors:
            np.testing.assert_array_equal(file.data(name), whole.data(name))


def test_it_cannot_be_written_alone_where_it_is_not(copy, tmp_path):
    drop(copy, *(name for name in checkpoints.load_weights(copy) if name.startswith("model.layers.3.")))
    code, _, err = run("convert", copy, tmp_path, "--mtp-only")
    assert code == 2
    assert "no layer of multi-token prediction" in err
    assert run("convert", copy, tmp_path, "--mtp-only", "--no-mtp")[0] == 2


def prune_layers(folder, n_layers):
    """Take layers off the end of the model, but leave the layer for multi-token prediction."""
    checkpoints.change_config(folder, num_hidden_layers=n_layers)

    def change(tensors):
        for name in [name for name in tensors if name.startswith("model.layers.2.")]:
            del tensors[name]

    checkpoints.change_weights(folder, change)


def prune_experts(folder):
    """Take half of the model's experts away, but none of the layer for multi-token prediction."""
    checkpoints.change_config(folder, n_routed_experts=4)

    def change(tensors):
        for name in list(tensors):
            if name.startswith("model.layers.3."):
                continue
            if ".mlp.gate." in name:
                tensors[name] = tensors[name][:4]
            elif any(f".experts.{i}." in name for i in range(4, 8)):
                del tensors[name]

    checkpoints.change_weights(folder, change)


def drop(folder, *endings):
    def change(tensors):
        for name in [name for name in tensors if name.endswith(endings)]:
            del tensors[name]

    checkpoints.change_weights(folder, change)


@pytest.mark.parametrize("claimed", (0, 1, 2))
def test_a_model_with_fewer_layers_than_the_layer_s_number(copy, tmp_path, claimed):
    prune_layers(copy, 2)
    checkpoints.change_config(copy, num_nextn_predict_layers=claimed)
    assert LEAVE_OUT in refusal(copy, tmp_path)
    assert blocks(copy, tmp_path, mtp=False) == 2


def test_a_model_with_fewer_experts_than_the_layer(copy, tmp_path):
    prune_experts(copy)
    message = refusal(copy, tmp_path)
    assert "model.layers.3." in message
    assert LEAVE_OUT in message
    assert blocks(copy, tmp_path, mtp=False) == 3


@pytest.mark.parametrize(
    "endings", [("3.eh_proj.weight",), ("3.enorm.weight", "3.eh_proj.weight"), ("3.self_attn.o_proj.weight",)]
)
def test_a_layer_that_is_not_whole(copy, tmp_path, endings):
    drop(copy, *endings)
    message = refusal(copy, tmp_path)
    assert "lacks" in message
    assert LEAVE_OUT in message
    assert blocks(copy, tmp_path, mtp=False) == 3


def test_a_layer_that_config_json_does_not_tell_of(copy, tmp_path):
    checkpoints.change_config(copy, num_nextn_predict_layers=0)
    assert LEAVE_OUT in refusal(copy, tmp_path)
    assert blocks(copy, tmp_path, mtp=False) == 3


def test_a_layer_that_is_not_there(copy, tmp_path):
    checkpoints.change_weights(
        copy, lambda tensors: [tensors.pop(name) for name in list(tensors) if "model.layers.3." in name]
    )
    assert blocks(copy, tmp_path, mtp=True) == 3


def test_layers_of_the_model_are_never_taken_for_it(copy, tmp_path):
    """config.json counts too few: what is left over is no multi-token prediction."""
    drop(copy, *(name for name in checkpoints.load_weights(copy) if name.startswith("model.layers.3.")))
    checkpoints.change_config(copy, num_hidden_layers=2, num_nextn_predict_layers=1)
    for mtp in (True, False):
        with pytest.raises(GlmqError, match=r"holds tensors model\.layers\.2\.") as found:
            convert(copy, tmp_path / "model.gguf", mtp=mtp)
        assert LEAVE_OUT not in str(found.value)


def test_something_else_that_is_wrong_does_not_speak_of_it(copy, tmp_path):
    drop(copy, "layers.1.self_attn.o_proj.weight")
    assert LEAVE_OUT not in refusal(copy, tmp_path)


def test_the_command_names_its_option(copy, tmp_path):
    (copy / "model-mtp.safetensors").unlink()
    code, out, err = run("convert", copy, tmp_path)
    assert (code, out) == (2, "")
    assert f"{LEAVE_OUT} (--no-mtp)" in err
    assert len(err.splitlines()) == 1


def test_safetensors_joined_with_cat(copy, tmp_path):
    (copy / "model.safetensors.index.json").unlink()
    parts = sorted(copy.glob("*.safetensors"))
    content = b"".join(path.read_bytes() for path in parts)
    for path in parts:
        path.unlink()
    (copy / "model.safetensors").write_bytes(content)
    assert "with cat" in refusal(copy, tmp_path)


@pytest.mark.parametrize(
    "file", ["../model.safetensors", "/etc/passwd", "", "a\0b.safetensors", "model.bin", None, 5, ["a"]]
)
def test_an_index_that_names_no_file_beside_it(copy, tmp_path, file):
    path = copy / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    index["weight_map"]["lm_head.weight"] = file
    path.write_text(json.dumps(index))
    assert "lm_head.weight" in refusal(copy, tmp_path)
