"""A GGUF file made from another: metadata as it is, blocks kept, or made anew from their weights."""

from __future__ import annotations

import dataclasses

import gguf
import numpy as np
import pytest
from glmq_convert.gguf_source import GGUFWeights, copied_header, plan_copies
from glmq_convert.gguf_writer import WriteSettings, write_gguf
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import check_target
from glmq_kernels.formats.tensor_types import KERNEL_TYPES

from glmq.gguf import open_gguf
from tests.glmq import gguf_files
from tests.kernels.blocks import random_weights

ROWS, COLUMNS = 6, 512


def write_every_type(path):
    """A file with a matrix of every type, and a vector."""
    rng = np.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    for name in KERNEL_TYPES:
        blocks = random_weights(rng, ROWS, COLUMNS, name)
        writer.add_tensor(f"{name}.weight", blocks, raw_dtype=gguf.GGMLQuantizationType[name])
    writer.add_tensor("output_norm.weight", rng.standard_normal(7).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def plain(metadata):
    return {key: value if np.isscalar(value) else list(value) for key, value in metadata.items()}


def rewrite(source, out, type_name=None):
    """Copy a file, all its matrices in a type if one is given."""
    with open_gguf(source) as model:
        tensors = plan_copies(model)
        if type_name:
            tensors = [
                dataclasses.replace(t, type=type_name if len(t.shape) > 1 else t.type) for t in tensors
            ]
        weights = GGUFWeights(model, tensors)
        write_gguf(check_target(out), copied_header(model), tensors, weights, WriteSettings(threads=1))
    return open_gguf(out)


def test_metadata_of_every_type_is_copied(tmp_path):
    source = tmp_path / "source.gguf"
    gguf_files.write_small_model(source)
    with open_gguf(source) as model, rewrite(source, tmp_path / "copy.gguf") as copy:
        assert copy.value_types == model.value_types
        assert plain(copy.metadata) == plain(model.metadata)


def test_how_a_file_is_written_is_not_copied(tmp_path):
    source = tmp_path / "source.gguf"
    writer = gguf.GGUFWriter(source, "glm4moe")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_quantization_version(2)
    writer.add_custom_alignment(64)
    writer.add_uint16("split.count", 1)
    writer.add_string("quantize.imatrix.file", "x")
    writer.add_string("general.name", "GLM")
    writer.add_tensor("a.weight", np.ones((2, 4), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with rewrite(source, tmp_path / "copy.gguf") as copy:
        assert dict(copy.metadata) == {"general.architecture": "glm4moe", "general.name": "GLM"}


def test_tokens_that_are_not_utf8_are_copied_byte_by_byte(tmp_path):
    source = tmp_path / "source.gguf"
    tokens = [b"a", b"\xff\x00b", b""]
    keys = [
        gguf_files.key("general.architecture", gguf_files.STRING, gguf_files.string("llama")),
        gguf_files.key(
            "tokenizer.ggml.tokens",
            gguf_files.ARRAY,
            gguf_files.array(gguf_files.STRING, len(tokens), b"".join(map(gguf_files.string, tokens))),
        ),
    ]
    source.write_bytes(gguf_files.gguf_bytes(keys, [gguf_files.tensor()], bytes(16)))
    with rewrite(source, tmp_path / "copy.gguf") as copy:
        found = copy.metadata["tokenizer.ggml.tokens"]
        assert [found.bytes_at(i) for i in range(3)] == tokens


def test_tensors_that_keep_their_type_keep_their_bytes(tmp_path):
    source = tmp_path / "source.gguf"
    write_every_type(source)
    with open_gguf(source) as model, rewrite(source, tmp_path / "copy.gguf") as copy:
        for name, info in model.tensors.items():
            assert (copy.tensors[name].type, copy.tensors[name].shape) == (info.type, info.shape)
            np.testing.assert_array_equal(copy.data(name), model.data(name))


def test_blocks_of_every_type_become_the_floats_that_they_stand_for(tmp_path):
    source = tmp_path / "source.gguf"
    write_every_type(source)
    with open_gguf(source) as model, rewrite(source, tmp_path / "copy.gguf", "F32") as copy:
        for name, kind in KERNEL_TYPES.items():
            raw = model.data(f"{name}.weight").reshape(ROWS, -1)
            expected = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[name])
            found = copy.data(f"{name}.weight").view(np.float32).reshape(ROWS, COLUMNS)
            if kind.is_float:
                np.testing.assert_array_equal(found, expected)
            else:  # fused multiplication and addition rounds once where the package rounds twice
                np.testing.assert_allclose(found, expected, rtol=0, atol=2e-7 * np.abs(expected).max())


def test_a_split_model_becomes_one_file(tmp_path):
    parts = gguf_files.write_split_model(tmp_path)
    with rewrite(parts[1], tmp_path / "whole.gguf") as whole:
        assert list(whole.tensors) == ["part.0", "part.1", "part.2"]
        np.testing.assert_array_equal(whole.data("part.2").view(np.float32), np.full(8, 2.0))
        assert "split.count" not in whole.metadata


def test_doubles_become_floats(tmp_path):
    source = tmp_path / "source.gguf"
    writer = gguf.GGUFWriter(source, "llama")
    writer.add_tensor("a.weight", np.array([[1.5, -0.1]], np.float64))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with rewrite(source, tmp_path / "copy.gguf") as copy:
        assert copy.tensors["a.weight"].type == "F32"
        np.testing.assert_array_equal(copy.data("a.weight").view(np.float32), np.float32([1.5, -0.1]))


def test_tensors_of_integers_are_refused_by_name(tmp_path):
    source = tmp_path / "source.gguf"
    keys = [gguf_files.key("general.architecture", gguf_files.STRING, gguf_files.string("llama"))]
    int32 = gguf.GGMLQuantizationType.I32
    source.write_bytes(gguf_files.gguf_bytes(keys, [gguf_files.tensor("table", (4,), int32)], bytes(16)))
    with pytest.raises(GlmqError, match="tensor table is stored as I32"):
        rewrite(source, tmp_path / "copy.gguf")


def test_a_file_without_architecture_is_refused(tmp_path):
    source = tmp_path / "source.gguf"
    source.write_bytes(gguf_files.gguf_bytes([], [gguf_files.tensor()], bytes(16)))
    with pytest.raises(GlmqError, match="general.architecture"):
        rewrite(source, tmp_path / "copy.gguf")
