"""Checkpoints that are incomplete, damaged or not understood, and what is said of them."""

from __future__ import annotations

import json

import pytest
from glmq_convert.conversion import convert
from glmq_kernels.errors import GlmqError

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints


class TestDamage:
    """Each is refused, names the tensor or the file, and leaves no file."""

    def refused(self, folder, out, **arguments):
        with pytest.raises(GlmqError) as found:
            convert(folder, out / "model.gguf", **arguments)
        assert not list(out.glob("model*"))
        assert "\n" not in str(found.value)
        return str(found.value)

    @pytest.fixture
    def copy(self, plain, tmp_path):
        import shutil

        shutil.copytree(plain, tmp_path / "copy")
        return tmp_path / "copy"

    def test_a_missing_tensor(self, copy, tmp_path):
        name = "model.layers.1.mlp.experts.3.up_proj.weight"
        checkpoints.change_weights(copy, lambda tensors: tensors.pop(name))
        assert name in self.refused(copy, tmp_path)

    def test_an_extra_tensor(self, copy, tmp_path):
        checkpoints.change_weights(copy, lambda t: t.update(odd=t["model.norm.weight"].clone()))
        assert "odd" in self.refused(copy, tmp_path)

    def test_a_misshapen_tensor(self, copy, tmp_path):
        name = "model.layers.0.self_attn.k_proj.weight"
        checkpoints.change_weights(copy, lambda t: t.update({name: t[name][:-1]}))
        assert name in self.refused(copy, tmp_path)

    def test_a_tensor_of_an_unreadable_type(self, copy, tmp_path):
        name = "model.layers.0.self_attn.k_proj.weight"
        checkpoints.change_weights(copy, lambda t: t.update({name: t[name].double()}))
        message = self.refused(copy, tmp_path)
        assert name in message
        assert "F64" in message

    def test_a_weight_that_is_no_number(self, copy, tmp_path):
        name = "model.layers.1.mlp.experts.3.up_proj.weight"

        def spoil(tensors):
            tensors[name][3, 4] = float("nan")

        checkpoints.change_weights(copy, spoil)
        assert name in self.refused(copy, tmp_path)

    def test_a_file_cut_short(self, copy, tmp_path):
        [path] = copy.glob("*.safetensors")
        path.write_bytes(path.read_bytes()[:-1000])
        assert path.name in self.refused(copy, tmp_path)

    def test_tensors_that_lie_in_each_other(self, copy, tmp_path):
        [path] = copy.glob("*.safetensors")
        data = path.read_bytes()
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length])
        entry = header["model.layers.1.self_attn.q_proj.weight"]
        entry["data_offsets"] = [each - 4 for each in entry["data_offsets"]]
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
        assert path.name in self.refused(copy, tmp_path)

    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (lambda content: content["model"].pop("merges"), "model.merges is missing"),
            (lambda content: content["model"].pop("vocab"), "model.vocab is missing"),
            (lambda content: content["model"]["merges"].append(["zzz", "a"]), "'zzz'"),
            (lambda content: content.update(normalizer={"type": "Lowercase"}), "'Lowercase'"),
            (
                lambda content: content["added_tokens"].append(
                    {**content["added_tokens"][0], "content": "q"}
                ),
                "two added tokens",
            ),
        ],
    )
    def test_tokenizers_that_cannot_be(self, copy, tmp_path, change, named):
        content = json.loads((copy / "tokenizer.json").read_text())
        change(content)
        (copy / "tokenizer.json").write_text(json.dumps(content))
        assert named in self.refused(copy, tmp_path)

    def test_a_missing_shard(self, tmp_path):
        checkpoints.save_checkpoint(tmp_path / "c", max_shard_size="300KB")
        sorted((tmp_path / "c").glob("*.safetensors"))[1].unlink()
        assert "model-00002" in self.refused(tmp_path / "c", tmp_path)

    @pytest.mark.parametrize("name", ("config.json", "tokenizer.json", "model.safetensors"))
    def test_a_missing_file(self, copy, tmp_path, name):
        (copy / name).unlink()
        assert name.split(".")[-1] in self.refused(copy, tmp_path)

    @pytest.mark.parametrize("name", ("config.json", "tokenizer.json", "model.safetensors"))
    def test_a_file_of_nonsense(self, copy, tmp_path, name):
        (copy / name).write_bytes(b"\xff\x00nonsense")
        assert name in self.refused(copy, tmp_path)

    @pytest.mark.parametrize(
        ("key", "value", "named"),
        [
            ("model_type", "mamba", "mamba"),
            ("model_type", "glm4v_moe", "images"),
            ("hidden_size", -4, "hidden_size"),
            ("hidden_size", "96", "hidden_size"),
            ("num_experts_per_tok", 9, "num_experts_per_tok"),
            ("num_key_value_heads", 3, "heads"),
        ],
    )
    def test_a_config_that_cannot_be(self, copy, tmp_path, key, value, named):
        checkpoints.change_config(copy, **{key: value})
        assert named in self.refused(copy, tmp_path)

    def test_not_a_folder(self, tmp_path):
        assert "not a folder" in self.refused(tmp_path / "no", tmp_path)

    def test_an_unknown_type(self, plain, tmp_path):
        assert "did you mean Q5_K_S" in self.refused(plain, tmp_path, type="q5_k_x")
