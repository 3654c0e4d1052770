from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import gguf
import numpy as np
import pytest
from glmq_kernels.formats.tensor_types import TENSOR_TYPES
from glmq_kernels.strings.string_offsets import string_offsets
from hypothesis import given
from hypothesis import strategies as st

from glmq.gguf import GGUFError, StringArray, open_gguf
from glmq.gguf.refused_types import PRIVATE_TYPES, WITHDRAWN_TYPES

from .gguf_files import UINT32, gguf_bytes, key, string, tensor, write_small_model

VOCABULARIES = Path(__file__).parents[3] / "shared" / "vocab"


@pytest.fixture
def small(tmp_path):
    path = tmp_path / "small.gguf"
    write_small_model(path)
    with open_gguf(path) as file:
        yield file


def test_scalars_come_as_python_values(small):
    assert small.metadata["small.uint8"] == 200
    assert small.metadata["small.int8"] == -100
    assert small.metadata["small.uint16"] == 60000
    assert small.metadata["small.int16"] == -30000
    assert small.metadata["small.uint32"] == 4_000_000_000
    assert small.metadata["small.int32"] == -2_000_000_000
    assert small.metadata["small.uint64"] == 1 << 63
    assert small.metadata["small.int64"] == -(1 << 62)
    assert small.metadata["small.float32"] == float(np.float32(0.1))
    assert small.metadata["small.float64"] == 0.1
    assert small.metadata["small.bool"] is True
    assert small.metadata["small.string"] == "Grüße, 世界"


def test_arrays_of_numbers_come_as_numpy(small):
    integers = small.metadata["small.integers"]
    assert integers.dtype == np.int32
    assert integers.tolist() == [1, -2, 3]
    assert not integers.flags.writeable
    assert small.metadata["small.floats"].tolist() == [0.5, -1.5]
    assert small.metadata["small.bools"].dtype == bool
    assert small.metadata["small.bools"].tolist() == [True, False, True]


def test_strings_are_decoded_on_demand(small):
    tokens = small.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, StringArray)
    assert len(tokens) == 5
    assert tokens[2] == "\u0120world"
    assert tokens[-1] == "é"
    assert tokens[1:3] == ["a", "\u0120world"]
    assert tokens.bytes_at(4) == "é".encode()
    assert list(tokens) == tokens.to_list() == ["<s>", "a", "\u0120world", "", "é"]
    with pytest.raises(IndexError):
        tokens[5]


def test_value_types_have_the_names_of_the_format(small):
    assert small.value_types["small.uint16"] == "uint16"
    assert small.value_types["small.bool"] == "bool"
    assert small.value_types["small.integers"] == "array of int32"
    assert small.value_types["tokenizer.ggml.tokens"] == "array of string"


def test_tensors_have_numpy_shapes_and_the_bytes_that_were_written(tmp_path):
    path = tmp_path / "small.gguf"
    tensors = write_small_model(path)
    with open_gguf(path) as file:
        for name, values in tensors.items():
            assert file.tensor(name).type == "F32"
            assert file.tensor(name).shape == values.shape
            assert file.data(name).tobytes() == values.tobytes()


def test_everything_agrees_with_the_reader_of_the_gguf_package(small):
    reader = gguf.GGUFReader(small.path)
    assert {each.name for each in reader.tensors} == set(small.tensors)
    for theirs in reader.tensors:
        ours = small.tensors[theirs.name]
        assert ours.type == theirs.tensor_type.name
        assert ours.shape == tuple(int(size) for size in reversed(theirs.shape))
        assert ours.offset == theirs.data_offset
        assert ours.n_bytes == theirs.n_bytes
        assert ours.n_elements == theirs.n_elements
        assert small.data(theirs.name).tobytes() == theirs.data.tobytes()
    assert small.n_bytes == sum(each.n_bytes for each in reader.tensors)


def test_tensor_data_is_a_read_only_view(small):
    data = small.data("token_embd.weight")
    assert data.dtype == np.uint8
    assert data.base is not None
    assert not data.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        data[0] = 1


def test_views_outlive_the_file(small):
    data = small.data("token_embd.weight")
    tokens = small.metadata["tokenizer.ggml.tokens"]
    before = data.tobytes()
    small.close()
    assert data.tobytes() == before
    assert tokens[0] == "<s>"
    with pytest.raises(ValueError, match="closed"):
        small.data("token_embd.weight")


def test_a_missing_tensor_is_named(small):
    with pytest.raises(GGUFError, match=r"blk\.7\.attn_q\.weight is missing"):
        small.tensor("blk.7.attn_q.weight")
    with pytest.raises(GGUFError, match=r"blk\.7\.attn_q\.weight is missing"):
        small.data("blk.7.attn_q.weight")


def test_typed_fields(small):
    assert small.integer("small.uint32") == 4_000_000_000
    assert small.number("small.float64") == 0.1
    assert small.number("small.uint8") == 200.0
    assert small.boolean("small.bool") is True
    assert small.text("general.architecture") == "llama"


def test_typed_fields_take_defaults_for_what_is_missing(small):
    assert small.integer("none", 0) == 0
    assert small.number("none", 0.0) == 0.0
    assert small.boolean("none", False) is False
    assert small.text("none", "") == ""


@pytest.mark.parametrize("accessor", ["integer", "number", "boolean", "text"])
def test_typed_fields_refuse_what_is_missing(small, accessor):
    with pytest.raises(GGUFError, match=r"lacks llama\.block_count"):
        getattr(small, accessor)("llama.block_count")


@pytest.mark.parametrize(
    ("accessor", "name", "message"),
    [
        ("integer", "small.string", "small.string must be an integer, but it is 'Grüße, 世界'"),
        ("integer", "small.bool", "small.bool must be an integer, but it is True"),
        ("integer", "small.float64", "small.float64 must be an integer, but it is 0.1"),
        ("integer", "small.integers", "small.integers differs from layer to layer (-2 to 3)"),
        ("number", "small.bool", "small.bool must be a number, but it is True"),
        ("number", "small.string", "small.string must be a number"),
        ("boolean", "small.uint8", "small.uint8 must be true or false, but it is 200"),
        ("text", "tokenizer.ggml.tokens", "tokenizer.ggml.tokens must be text, but it is an array of 5"),
    ],
)
def test_typed_fields_refuse_other_types(small, accessor, name, message):
    with pytest.raises(GGUFError) as error:
        getattr(small, accessor)(name)
    assert message in str(error.value)
    assert str(small.path) in str(error.value)


def test_a_number_must_be_finite(tmp_path):
    path = tmp_path / "nan.gguf"
    path.write_bytes(gguf_bytes([key("epsilon", 12, np.float64(np.nan).tobytes())]))
    with open_gguf(path) as file, pytest.raises(GGUFError, match="epsilon must be a number, but it is nan"):
        file.number("epsilon")


def test_version_2_reads_like_version_3(tmp_path):
    path = tmp_path / "two.gguf"
    path.write_bytes(gguf_bytes([key("n", UINT32, b"\7\0\0\0")], [tensor()], bytes(16), version=2))
    with open_gguf(path) as file:
        assert file.version == 2
        assert file.integer("n") == 7
        assert file.tensor("a").shape == (4,)


def test_another_alignment_moves_the_tensors(tmp_path):
    path = tmp_path / "aligned.gguf"
    keys = [key("general.alignment", UINT32, b"\0\1\0\0")]
    path.write_bytes(gguf_bytes(keys, [tensor()], np.arange(4, dtype=np.float32).tobytes(), alignment=256))
    with open_gguf(path) as file:
        assert file.tensor("a").offset == 256
        assert file.data("a").view(np.float32).tolist() == [0, 1, 2, 3]


def test_a_file_without_tensors_opens(tmp_path):
    path = tmp_path / "vocabulary.gguf"
    path.write_bytes(gguf_bytes([key("general.architecture", 8, string("llama"))])[:-5])
    with open_gguf(path) as file:
        assert dict(file.tensors) == {}
        assert file.n_bytes == 0


def test_gaps_between_tensors_and_bytes_after_the_last_are_accepted(tmp_path):
    path = tmp_path / "gaps.gguf"
    path.write_bytes(gguf_bytes([], [tensor("b", offset=128), tensor("a", offset=0)], bytes(512)))
    with open_gguf(path) as file:
        assert list(file.tensors) == ["b", "a"]


def test_a_tensor_larger_than_memory_opens_at_once(tmp_path):
    path = tmp_path / "huge.gguf"
    rows = 1 << 24
    path.write_bytes(gguf_bytes([], [tensor("huge", (4096, rows))]))
    try:
        os.truncate(path, path.stat().st_size + 4 * 4096 * rows)
    except OSError:
        pytest.skip("the file system has no room for a sparse file of 256 GiB")
    start = time.process_time()
    with open_gguf(path) as file:
        assert file.data("huge").nbytes == 4 * 4096 * rows
    assert time.process_time() - start < 5


def test_identity_changes_with_the_file(tmp_path):
    path = tmp_path / "a.gguf"
    path.write_bytes(gguf_bytes([], [tensor()], bytes(16)))
    first = open_gguf(path).identity
    assert open_gguf(path).identity == first
    os.utime(path, ns=(1, 1))
    second = open_gguf(path).identity
    path.write_bytes(gguf_bytes([], [tensor()], bytes(48)))
    assert len({first, second, open_gguf(path).identity}) == 3


def test_block_sizes_agree_with_the_gguf_package():
    # Q8_1 is never stored in files; the package counts its two half floats as floats.
    theirs = {kind.name: sizes for kind, sizes in gguf.GGML_QUANT_SIZES.items() if kind.name != "Q8_1"}
    ours = {kind.name: (kind.block, kind.block_bytes) for kind in TENSOR_TYPES.values()}
    assert {name: ours.get(name) for name in theirs} == theirs
    assert {kind.name: kind.value for kind in gguf.GGMLQuantizationType}.items() <= {
        name: kind.number for name, kind in TENSOR_TYPES.items()
    }.items()


def test_no_number_stands_for_two_types():
    numbers = [kind.number for kind in TENSOR_TYPES.values()]
    numbers += [*WITHDRAWN_TYPES, *PRIVATE_TYPES]
    assert len(set(numbers)) == len(numbers)


@given(st.lists(st.text()))
def test_any_strings_come_back(strings):
    data = np.frombuffer(b"head" + b"".join(map(string, strings)), np.uint8)
    found = StringArray(data, string_offsets(data, 4, len(strings)))
    assert found.to_list() == strings
    assert [found[i] for i in range(len(found))] == strings


@given(st.lists(st.binary()))
def test_bytes_that_are_not_text_come_back_as_bytes(strings):
    data = np.frombuffer(b"head" + b"".join(map(string, strings)), np.uint8)
    found = StringArray(data, string_offsets(data, 4, len(strings)))
    assert [found.bytes_at(i) for i in range(len(found))] == strings
    assert found.to_list() == [each.decode("utf-8", "replace") for each in strings]


@pytest.mark.parametrize(
    ("name", "n_tokens", "token", "n_merges"),
    [("qwen2", 151936, "!", 151387), ("llama-bpe", 128256, "!", 280147), ("llama-spm", 32000, "<unk>", 0)],
)
def test_real_vocabularies(name, n_tokens, token, n_merges):
    path = VOCABULARIES / f"ggml-vocab-{name}.gguf"
    if not path.exists():
        pytest.skip(f"{path} is not there")
    with open_gguf(path) as file:
        tokens = file.metadata["tokenizer.ggml.tokens"]
        assert len(tokens) == len(tokens.to_list()) == n_tokens
        assert tokens[0] == token
        assert tokens[1000] == tokens.to_list()[1000]
        assert len(file.metadata.get("tokenizer.ggml.merges", [])) == n_merges


def test_importing_loads_nothing_slow():
    code = "import sys, glmq.gguf; print(*sys.modules)"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    loaded = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.split()
    assert "glmq.gguf" in loaded
    assert not {"gguf", "numba", "llvmlite", "rich", "tokenizers", "safetensors"} & set(loaded)
