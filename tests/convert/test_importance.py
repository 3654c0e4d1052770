"""Importance matrices: read in both forms, written, merged, and what a quantizer gets of them."""

from __future__ import annotations

import os
import struct
from contextlib import suppress

import gguf
import numpy as np
import pytest
from glmq_convert.importance import (
    Importance,
    TensorSums,
    importance_target,
    merge_importance,
    read_importance,
    write_importance,
)
from glmq_kernels.errors import GlmqError
from hypothesis import given, settings
from hypothesis import strategies as st

EXPERTS = "blk.1.ffn_down_exps.weight"
DENSE = "blk.0.attn_q.weight"


def sums(values, counts) -> TensorSums:
    return TensorSums(np.array(values, np.float32), np.array(counts, np.int64))


def importance(**changes) -> Importance:
    """Of three experts, of which the second was never seen, and of a dense matrix."""
    parts = {
        "file": "some",
        "datasets": ("text.txt",),
        "n_chunks": 3,
        "chunk_size": 512,
        "tensors": {
            EXPERTS: sums([[2, 4], [0, 0], [30, 10]], [2, 0, 10]),
            DENSE: sums([[6, 3, 9]], [3]),
        },
    }
    return Importance(**{**parts, **changes})


@pytest.fixture
def written(tmp_path):
    path = tmp_path / "imatrix.gguf"
    write_importance(importance(), importance_target(path))
    return path


def test_a_quantizer_gets_means(written):
    assert read_importance(written).of(DENSE, 1, 3).tolist() == [[2, 1, 3]]


def test_an_expert_that_was_not_seen_gets_the_mean_of_the_others(written):
    found = read_importance(written).of(EXPERTS, 3, 2)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[1, 2], [32 / 12, 14 / 12], [3, 1]])


def test_a_tensor_that_was_not_seen_at_all_gets_ones():
    unseen = importance(tensors={EXPERTS: sums(np.zeros((3, 2)), [0, 0, 0])})
    assert unseen.of(EXPERTS, 3, 2).tolist() == [[1, 1]] * 3


def test_a_tensor_that_is_not_there_has_none(written):
    assert read_importance(written).of("blk.9.attn_q.weight", 1, 3) is None


def test_matrices_of_heads_share_a_count():
    heads = importance(tensors={"blk.0.attn_k_b.weight": sums([[2, 4, 6, 8]], [2])})
    assert heads.of("blk.0.attn_k_b.weight", 2, 2).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(("n_matrices", "columns"), [(3, 3), (4, 2), (1, 6), (2, 3)])
def test_another_size_is_another_model(written, n_matrices, columns):
    with pytest.raises(GlmqError, match=rf"{EXPERTS} has 6 columns and 3 counts there"):
        read_importance(written).of(EXPERTS, n_matrices, columns)


def test_remarks_tell_of_experts_that_were_not_seen(written):
    (remark,) = read_importance(written).remarks()
    assert "some experts of 1 tensors, up to 1 of 3; they get the mean" in remark
    unseen = importance(tensors={EXPERTS: sums(np.zeros((3, 2)), [0, 0, 0])})
    assert unseen.remarks() == [f"some: 1 tensors were never used; in {EXPERTS} all columns count alike"]


def test_files_are_as_llama_cpp_writes_them(written):
    file = gguf.GGUFReader(written)
    assert {key: field.contents() for key, field in file.fields.items() if not key.startswith("GGUF.")} == {
        "general.type": "imatrix",
        "imatrix.datasets": ["text.txt"],
        "imatrix.chunk_count": 3,
        "imatrix.chunk_size": 512,
    }
    assert [(each.name, each.shape.tolist(), each.tensor_type.name) for each in file.tensors] == [
        (f"{DENSE}.in_sum2", [3, 1], "F32"),
        (f"{DENSE}.counts", [1, 1], "F32"),
        (f"{EXPERTS}.in_sum2", [2, 3], "F32"),
        (f"{EXPERTS}.counts", [1, 3], "F32"),
    ]


def test_what_is_written_is_read(written):
    found = read_importance(written)
    assert (found.file, found.datasets, found.n_chunks) == (str(written), ("text.txt",), 3)
    assert found.n_entries == 2
    for name, expected in importance().tensors.items():
        np.testing.assert_array_equal(found.tensors[name].sums, expected.sums)
        np.testing.assert_array_equal(found.tensors[name].counts, expected.counts)


def test_merging_adds_sums_and_counts():
    other = importance(
        datasets=("talk.txt", "text.txt"), tensors={EXPERTS: sums([[0, 1], [5, 5], [0, 0]], [1, 5, 0])}
    )
    merged = merge_importance([importance(), other])
    assert merged.datasets == ("text.txt", "talk.txt")
    assert merged.n_chunks == 6
    assert merged.tensors[EXPERTS].sums.tolist() == [[2, 5], [5, 5], [30, 10]]
    assert merged.tensors[EXPERTS].counts.tolist() == [3, 5, 10]
    assert merged.tensors[DENSE].counts.tolist() == [3]


@pytest.mark.parametrize(
    ("tensors", "why"),
    [
        ({EXPERTS: sums([[1, 1, 1]] * 3, [1, 1, 1])}, "3 x 2 and 3 x 3 sums"),
        ({"blk.7.other.weight": sums([[1]], [1])}, "no tensor in common"),
    ],
)
def test_merging_refuses_other_models(tensors, why):
    with pytest.raises(GlmqError, match=f"other is of another model than some: .*{why}"):
        merge_importance([importance(), importance(file="other", tensors=tensors)])


def dat(entries, end: bytes = b"") -> bytes:
    """A file of the older form. entries: name, number of calls, values."""
    content = struct.pack("<i", len(entries))
    for name, n_calls, values in entries:
        content += struct.pack("<i", len(name)) + name.encode() + struct.pack("<ii", n_calls, len(values))
        content += np.array(values, "<f4").tobytes()
    return content + end


def test_the_older_form_is_read(tmp_path):
    path = tmp_path / "imatrix.dat"
    path.write_bytes(dat([(EXPERTS, 4, [4, 8, 4, 4, 12, 4])], struct.pack("<ii", 4, 8) + b"wiki.txt"))
    found = read_importance(path)
    assert (found.datasets, found.n_chunks, found.n_entries) == (("wiki.txt",), 4, 1)
    # The second expert's values are those of one that was not seen.
    assert found.of(EXPERTS, 3, 2).tolist() == [[1, 2], [2, 1.5], [3, 1]]


def test_the_oldest_files_end_with_their_entries(tmp_path):
    path = tmp_path / "imatrix.dat"
    path.write_bytes(dat([(DENSE, 2, [2, 4])]))
    assert read_importance(path).of(DENSE, 1, 2).tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it ends too early"),
        (b"not a matrix of any kind", "entries"),
        (dat([(DENSE, 2, [2, 4])])[:-3], "it ends too early"),
        (dat([(DENSE, 2, [2, float("nan")])]), "negative or not finite"),
        (dat([(DENSE, 2, [2, -4])]), "negative or not finite"),
    ],
)
def test_damaged_files_of_the_older_form_are_refused(tmp_path, content, why):
    path = tmp_path / "imatrix.dat"
    path.write_bytes(content)
    with pytest.raises(GlmqError, match=why) as refused:
        read_importance(path)
    assert str(path) in str(refused.value) and "\n" not in str(refused.value)


def test_a_model_is_no_importance_matrix(tmp_path):
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(path, "glm4moe")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(GlmqError, match="no importance matrix, but a GGUF file of glm4moe"):
        read_importance(path)


@pytest.mark.parametrize("length", [1 << 20, 1 << 60])
def test_an_array_that_claims_more_than_the_file_has_is_refused_at_once(tmp_path, length):
    path = tmp_path / "imatrix.gguf"
    array = struct.pack("<IIQ", gguf.GGUFValueType.ARRAY, gguf.GGUFValueType.UINT8, length)
    path.write_bytes(b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"k" + array + bytes(8))
    with pytest.raises(GlmqError, match="is damaged"):
        read_importance(path)


def test_a_pipe_is_no_importance_matrix(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(GlmqError, match="is not a file"):
        read_importance(tmp_path / "pipe")


def test_only_importance_matrices_are_written_over(written, tmp_path):
    write_importance(importance(n_chunks=7), importance_target(written))
    assert read_importance(written).n_chunks == 7
    other = tmp_path / "notes.txt"
    other.write_text("mine")
    with pytest.raises(GlmqError, match="is there already and is not an importance matrix"):
        importance_target(other)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_whatever_is_damaged_the_file_is_read_whole_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged") / "imatrix.gguf"
    write_importance(importance(), importance_target(path))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(GlmqError):
        for name, each in (found := read_importance(path)).tensors.items():
            n_matrices, columns = each.sums.shape
            assert np.isfinite(found.of(name, n_matrices, columns)).all()
