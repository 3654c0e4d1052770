"""Converted files: names, shapes, metadata and bytes as GGUF and llama.cpp have them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import gguf
import numpy as np
import pytest
from glmq_convert import portions
from glmq_convert.conversion import convert
from glmq_convert.general import checkpoint_name
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import check_target, replacing

from glmq.gguf import open_gguf
from glmq.tokenizer import load_tokenizer

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints
from tests.glmq.test_command_line import ENVIRONMENT, run

SMALL = checkpoints.SMALL


@pytest.fixture(scope="module")
def with_mtp(tmp_path_factory):
    """A bfloat16 checkpoint in two files, with a multi-token-prediction layer."""
    folder = tmp_path_factory.mktemp("mtp") / "GLM-Tiny"
    checkpoints.save_checkpoint(folder, mtp=True, dtype="bfloat16")
    return folder


def test_metadata(plain, tmp_path):
    with open_gguf(convert(plain, tmp_path)) as file:
        assert file.path.name == "GLM-Tiny-Q8_0.gguf"
        expected = {
            "general.architecture": "glm4moe",
            "general.file_type": 7,
            "general.quantization_version": 2,
            "glm4moe.block_count": 3,
            "glm4moe.context_length": 512,
            "glm4moe.embedding_length": 96,
            "glm4moe.feed_forward_length": 160,
            "glm4moe.attention.head_count": 4,
            "glm4moe.attention.head_count_kv": 2,
            "glm4moe.attention.key_length": 32,
            "glm4moe.attention.value_length": 32,
            "glm4moe.rope.dimension_count": 16,
            "glm4moe.expert_count": 8,
            "glm4moe.expert_used_count": 3,
            "glm4moe.expert_shared_count": 1,
            "glm4moe.expert_feed_forward_length": 64,
            "glm4moe.leading_dense_block_count": 1,
            "glm4moe.expert_gating_func": 2,
            "glm4moe.expert_weights_norm": True,
            "glm4moe.vocab_size": 400,
            "tokenizer.ggml.model": "gpt2",
            "tokenizer.ggml.pre": "chatglm-bpe",
            "tokenizer.chat_template": checkpoints.TEMPLATE,
        }
        assert {key: file.metadata[key] for key in expected} == expected
        assert "glm4moe.nextn_predict_layers" not in file.metadata


def test_tensors_are_named_and_shaped_as_in_gguf(plain, tmp_path):
    with open_gguf(convert(plain, tmp_path)) as file:
        shapes = {name: (info.shape, info.type) for name, info in file.tensors.items()}
    h, f, e, v = 96, 64, 8, 400
    expected = {
        "token_embd.weight": ((v, h), "Q8_0"),
        "output.weight": ((v, h), "Q8_0"),
        "output_norm.weight": ((h,), "F32"),
        "blk.0.attn_norm.weight": ((h,), "F32"),
        "blk.0.attn_q.weight": ((128, h), "Q8_0"),
        "blk.0.attn_q.bias": ((128,), "F32"),
        "blk.0.attn_k.weight": ((64, h), "Q8_0"),
        "blk.0.attn_v.bias": ((64,), "F32"),
        "blk.0.attn_output.weight": ((h, 128), "Q8_0"),
        "blk.0.post_attention_norm.weight": ((h,), "F32"),
        "blk.0.ffn_gate.weight": ((160, h), "Q8_0"),
        "blk.0.ffn_down.weight": ((h, 160), "Q8_0"),
        "blk.1.ffn_gate_inp.weight": ((e, h), "F32"),
        "blk.1.exp_probs_b.bias": ((e,), "F32"),
        "blk.1.ffn_gate_exps.weight": ((e, f, h), "Q8_0"),
        "blk.1.ffn_up_exps.weight": ((e, f, h), "Q8_0"),
        "blk.1.ffn_down_exps.weight": ((e, h, f), "Q8_0"),
        "blk.2.ffn_down_shexp.weight": ((h, f), "Q8_0"),
    }
    assert {name: shapes[name] for name in expected} == expected
    assert len(shapes) == 3 + 12 + 2 * 17


@pytest.mark.parametrize("type_name", ("f32", "f16", "bf16", "q8_0", "q4_0"))
@pytest.mark.parametrize("dtype", ("float32", "float16", "bfloat16"))
def test_bytes_are_those_of_the_gguf_package(tmp_path, type_name, dtype):
    checkpoints.save_checkpoint(tmp_path, dtype=dtype, tokenizer=True)
    weights = checkpoints.load_weights(tmp_path)
    with open_gguf(convert(tmp_path, tmp_path / "model.gguf", type_name)) as file:
        for name, source in (
            ("token_embd.weight", "model.embed_tokens.weight"),
            ("blk.1.attn_output.weight", "model.layers.1.self_attn.o_proj.weight"),
            ("blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight"),
        ):
            floats = weights[source].float().numpy()
            kind = gguf.GGMLQuantizationType[type_name.upper()]
            assert file.tensor(name).type == type_name.upper()
            assert file.data(name).tobytes() == gguf.quants.quantize(floats, kind).tobytes(), name
        stacked = np.stack(
            [weights[f"model.layers.2.mlp.experts.{j}.down_proj.weight"].float().numpy() for j in range(8)]
        )
        expected = gguf.quants.quantize(stacked, gguf.GGMLQuantizationType[type_name.upper()])
        assert file.data("blk.2.ffn_down_exps.weight").tobytes() == expected.tobytes()


def test_fused_experts_give_the_same_file(plain, tmp_path):
    import shutil

    shutil.copytree(plain, tmp_path / "GLM-Tiny")
    checkpoints.fuse_experts(tmp_path / "GLM-Tiny")
    fused = convert(tmp_path / "GLM-Tiny", tmp_path / "fused.gguf")
    assert fused.read_bytes() == convert(plain, tmp_path / "plain.gguf").read_bytes()


def test_shards_give_the_same_file(tmp_path):
    for folder, size in (("a/GLM", "5GB"), ("b/GLM", "300KB")):
        checkpoints.save_checkpoint(tmp_path / folder, max_shard_size=size)
    assert len(list((tmp_path / "b/GLM").glob("*.safetensors"))) > 2
    whole, shards = (convert(tmp_path / folder / "GLM", tmp_path / f"{folder}.gguf") for folder in "ab")
    assert whole.read_bytes() == shards.read_bytes()


def test_the_mtp_layer_is_kept_or_left_out(with_mtp, tmp_path):
    with open_gguf(convert(with_mtp, tmp_path / "kept.gguf")) as file:
        assert file.metadata["glm4moe.nextn_predict_layers"] == 1
        assert file.metadata["glm4moe.block_count"] == 4
        assert {name.split(".", 2)[2] for name in file.tensors if ".nextn." in name} == {
            f"nextn.{part}.weight"
            for part in ("eh_proj", "enorm", "hnorm", "embed_tokens", "shared_head_head", "shared_head_norm")
        }
    with open_gguf(convert(with_mtp, tmp_path / "dropped.gguf", mtp=False)) as file:
        assert "glm4moe.nextn_predict_layers" not in file.metadata
        assert file.metadata["glm4moe.block_count"] == 3
        assert not [name for name in file.tensors if name.startswith("blk.3.")]


def test_both_kinds_of_files_run_alike(with_mtp, tmp_path):
    import glmq

    logits = []
    for mtp in (True, False):
        with glmq.load(convert(with_mtp, tmp_path / f"{mtp}.gguf", mtp=mtp)) as model:
            logits.append(model.logits([1, 2, 3]))
    np.testing.assert_array_equal(*logits)


def test_a_tied_head_is_not_written_twice(tmp_path):
    checkpoints.save_checkpoint(tmp_path, tie_word_embeddings=True)
    with open_gguf(convert(tmp_path, tmp_path / "model.gguf")) as file:
        assert "output.weight" not in file.tensors


def test_rows_that_do_not_divide_into_blocks_become_f16_and_that_is_said(tmp_path):
    checkpoints.save_checkpoint(tmp_path, moe_intermediate_size=48)
    remarks = []
    with open_gguf(convert(tmp_path, tmp_path / "model.gguf", remark=remarks.append)) as file:
        assert file.tensor("blk.1.ffn_down_exps.weight").type == "F16"
        assert file.tensor("blk.1.ffn_gate_exps.weight").type == "Q8_0"
    assert "48" in remarks[-1]


def test_the_tokenizer_gives_the_ids_of_transformers(plain, tmp_path):
    tokenizer = checkpoints.small_tokenizer()
    with open_gguf(convert(plain, tmp_path)) as file:
        ours = load_tokenizer(file)
        for text in [*checkpoints.CORPUS, "[gMASK]<sop><|user|>\nHi /nothink <think></think>", "  \n\n x"]:
            assert ours.encode(text) == tokenizer.encode(text, add_special_tokens=False)
        ends = {ours.token_text(token) for token in ours.eog_ids}
        assert ends == {"<|endoftext|>", "<|user|>", "<|observation|>"}
        assert ours.token_text(ours.bos_id) == "[gMASK]"
        assert ours.n_vocab == SMALL["vocab_size"]


def test_an_interrupted_run_leaves_nothing_and_an_earlier_file_as_it_was(plain, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_text("earlier")

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(plain, path, progress=interrupt, force=True)
    assert [each.name for each in tmp_path.iterdir()] == ["model.gguf"]
    assert path.read_text() == "earlier"


def test_a_file_that_is_there_is_replaced_only_by_force_and_that_is_told_at_the_start(plain, tmp_path):
    path = tmp_path / "model.gguf"
    path.write_text("earlier")
    unreadable = tmp_path / "GLM"  # whose config would be refused, if it were read
    unreadable.mkdir()
    with pytest.raises(GlmqError, match=r"model\.gguf is there already"):
        convert(unreadable, path)
    code, _, err = run("convert", plain, path)
    assert (code, err) == (
        2,
        f"glmq: error: {path} is there already; name another file, or overwrite it with --force\n",
    )
    assert path.read_text() == "earlier"
    assert run("convert", "--force", plain, path)[0] == 0
    assert path.read_bytes().startswith(b"GGUF")


def test_places_to_which_no_file_can_be_written_are_told_at_the_start(tmp_path):
    checkpoint = tmp_path / "GLM"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text("{}")
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (tmp_path / "pipe", "it is a pipe"),
        (tmp_path / "misspelt" / "model.gguf", "there is no folder"),
        (checkpoint / "config.json" / "model.gguf", "is a file, not a folder"),
        (checkpoint / "config.json", "is a file of the source"),
    ):
        with pytest.raises(GlmqError, match=why):
            convert(checkpoint, path, force=True)
    assert {each.name for each in tmp_path.iterdir()} == {"GLM", "pipe"}


def test_two_conversions_to_one_file(plain, tmp_path):
    with (
        replacing(check_target(tmp_path / "model.gguf")),
        pytest.raises(GlmqError, match="is being written by another process"),
    ):
        convert(plain, tmp_path / "model.gguf")


def test_a_killed_process_leaves_no_file_with_the_final_name(with_mtp, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-m", "glmq", "convert", str(with_mtp), str(tmp_path / "model.gguf")],
        env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    while process.poll() is None and not list(tmp_path.iterdir()):
        time.sleep(0.001)
    process.kill()
    process.wait()
    if process.returncode != 0:
        assert not (tmp_path / "model.gguf").exists()


def test_progress_counts_to_the_end(plain, tmp_path):
    steps = []
    path = convert(plain, tmp_path / "model.gguf", progress=lambda done, total: steps.append((done, total)))
    assert steps[-1][0] == steps[-1][1] <= path.stat().st_size
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_memory_used_is_a_few_portions_not_the_model(tmp_path, monkeypatch):
    import tracemalloc

    checkpoints.save_checkpoint(
        tmp_path, dtype="bfloat16", n_routed_experts=64, hidden_size=256, moe_intermediate_size=256
    )
    monkeypatch.setattr(portions, "PORTION_BYTES", 1 << 16)
    size = sum(path.stat().st_size for path in tmp_path.glob("*.safetensors"))
    convert(tmp_path, tmp_path / "warm.gguf", threads=2)
    tracemalloc.start()
    convert(tmp_path, tmp_path / "model.gguf", threads=2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 40e6
    assert peak < size / 10


def test_the_command(plain, tmp_path):
    code, out, err = run("convert", plain, tmp_path / "out.gguf", "--type", "Q4_0", "--no-mtp")
    assert (code, err) == (0, "")
    assert "out.gguf" in out
    with open_gguf(tmp_path / "out.gguf") as file:
        assert file.tensor("token_embd.weight").type == "Q4_0"
    code, out, err = run("convert", tmp_path)
    assert (code, out) == (2, "")
    assert "config.json" in err


def test_files_of_the_hugging_face_cache_are_named_by_their_repository(tmp_path):
    folder = tmp_path / "models--zai-org--GLM-4.5-Air" / "snapshots" / "abc123"
    folder.mkdir(parents=True)
    assert checkpoint_name(folder) == "GLM-4.5-Air"


def test_configurations_of_transformers_4_and_5_mean_the_same(plain, tmp_path):
    import shutil

    shutil.copytree(plain, tmp_path / "GLM-Tiny")
    config = json.loads((plain / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config |= {key: rope[key] for key in ("rope_theta", "partial_rotary_factor")}
    (tmp_path / "GLM-Tiny" / "config.json").write_text(json.dumps(config))
    old = convert(tmp_path / "GLM-Tiny", tmp_path / "old.gguf")
    assert old.read_bytes() == convert(plain, tmp_path / "new.gguf").read_bytes()
