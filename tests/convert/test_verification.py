"""What a GGUF file holds, against what it was made from and against other files."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from glmq_convert.checkpoint_source import checkpoint_source
from glmq_convert.conversion import convert, gguf_model_source
from glmq_convert.verification import model_differences, verify
from glmq_convert.verification.type_errors import error_bounds
from glmq_kernels.formats.quantize import NEEDS_IMPORTANCE, TARGET_TYPES, quantize_rows
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.ops.embedding.dequantized_rows import dequantize_rows

from glmq.gguf import open_gguf

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests import glm4_moe_checkpoints as checkpoints
from tests.glmq.test_command_line import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "GLM-Tiny"
    checkpoints.save_checkpoint(path, dtype="bfloat16", mtp=True)
    return path


@pytest.fixture(scope="module")
def converted(folder, tmp_path_factory):
    return convert(folder, tmp_path_factory.mktemp("converted") / "model.gguf", "q8_0")


def check(path, folder, mtp=True):
    with open_gguf(path) as model:
        return verify(model, checkpoint_source(folder, mtp))


def spoil(path, tmp_path, name, change):
    """A copy of a file with the bytes of a tensor changed in place."""
    copy = tmp_path / "spoilt.gguf"
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    with open_gguf(path) as model:
        info = model.tensor(name)
    change(content[info.offset : info.offset + info.n_bytes])
    copy.write_bytes(content.tobytes())
    return copy


def test_what_was_converted_is_right(folder, converted):
    found = check(converted, folder)
    assert not found.problems
    with open_gguf(converted) as model:
        assert {tensor.name for tensor in found.tensors} == set(model.tensors)
    assert 0 < max(tensor.error.relative for tensor in found.tensors) < error_bounds("Q8_0").tensor


@pytest.mark.parametrize("type_name", ("f32", "bf16"))
def test_floats_of_the_source_are_the_same(folder, tmp_path, type_name):
    found = check(convert(folder, tmp_path / "model.gguf", type_name, mtp=False), folder, mtp=False)
    assert not found.problems
    assert {tensor.error.relative for tensor in found.tensors} == {0.0}


def test_a_tensor_that_is_of_another_layer_is_noticed(folder, converted, tmp_path):
    with open_gguf(converted) as model:
        other = model.data("blk.1.attn_q.weight").copy()

    def put(data):
        data[:] = other

    (problem,) = check(spoil(converted, tmp_path, "blk.2.attn_q.weight", put), folder).problems
    assert problem.startswith("blk.2.attn_q.weight (Q8_0) is off by 1.")


def test_one_row_that_is_off_is_noticed(folder, converted, tmp_path):
    def turn(data):
        rows = data.reshape(8, 64, -1)
        rows[5, 7] = rows[5, 7, ::-1]

    found = check(spoil(converted, tmp_path, "blk.1.ffn_up_exps.weight", turn), folder)
    (wrong,) = [tensor for tensor in found.tensors if tensor.problem]
    assert wrong.name == "blk.1.ffn_up_exps.weight"
    assert wrong.error.worst_row == 5 * 64 + 7
    assert wrong.error.worst > wrong.bounds.row


def test_values_that_are_no_numbers_are_noticed(folder, converted, tmp_path):
    def spoil_one(data):
        data[:4] = 255

    (problem,) = check(spoil(converted, tmp_path, "output_norm.weight", spoil_one), folder).problems
    assert problem == "output_norm.weight holds 1 values that are not finite"


def rewritten(path, out, metadata=(), left_out=(), added=()):
    """A file with other metadata and tensors."""
    file = gguf.GGUFReader(path)
    changed = dict(metadata)
    writer = gguf.GGUFWriter(out, "glm4moe")
    for key, field in file.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture" and changed.get(key, "") is not None:
            kind, sub_type = field.types[0], field.types[-1] if len(field.types) > 1 else None
            writer.add_key_value(key, changed.pop(key, field.contents()), kind, sub_type)
    for tensor in file.tensors:
        if tensor.name not in left_out:
            writer.add_tensor(tensor.name, np.array(tensor.data), raw_dtype=tensor.tensor_type)
    for name in added:
        writer.add_tensor(name, np.zeros(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def test_metadata_and_names_that_differ_are_told(folder, converted, tmp_path):
    names = gguf.GGUFReader(converted).fields["tokenizer.ggml.tokens"].contents()
    changed = {
        "glm4moe.rope.freq_base": 5.0,
        "general.name": "Other",
        "tokenizer.ggml.tokens": [*names[:7], "swapped", *names[8:]],
        "glm4moe.expert_weights_scale": None,
    }
    left_out, added = ("blk.2.attn_k.bias",), ("blk.2.extra.weight",)
    found = check(rewritten(converted, tmp_path / "other.gguf", changed, left_out, added), folder)
    assert len(found.problems) == 5
    for expected in (
        "glm4moe.rope.freq_base is 5.0, and ",
        "tokenizer.ggml.tokens is 400 elements, element 7 is 'swapped', and 400 elements, element 7 is ",
        "glm4moe.expert_weights_scale is missing, and ",
        "tensor blk.2.attn_k.bias is missing",
        "tensor blk.2.extra.weight is not in the source",
    ):
        assert any(problem.startswith(expected) for problem in found.problems), expected
    assert [text for text in found.notes if "general.name" in text] == [
        "general.name is 'Other', and 'GLM Tiny' by the source"
    ]


def test_a_file_can_be_checked_against_another(converted, folder, tmp_path):
    exact = convert(folder, tmp_path / "exact.gguf", "bf16")
    with open_gguf(converted) as model, open_gguf(exact) as other:
        assert not verify(model, gguf_model_source(other)).problems
        assert verify(other, gguf_model_source(model)).problems


def test_differences_of_two_files(converted, folder, tmp_path):
    exact = convert(folder, tmp_path / "exact.gguf", "bf16", mtp=False)
    with open_gguf(converted) as model, open_gguf(exact) as other:
        found = model_differences(model, other, values=True)
        nothing = model_differences(model, model, values=True)
        n_of_both = len(model.tensors)
    assert (nothing.metadata, nothing.tensors, nothing.n_same) == ([], [], n_of_both)
    keys = {each.key for each in found.metadata} - {"general.size_label"}
    assert keys == {"general.file_type", "glm4moe.block_count", "glm4moe.nextn_predict_layers"}
    changed = {each.name: each for each in found.tensors}
    query = changed["blk.0.attn_q.weight"]
    assert (query.one.type, query.other.type) == ("Q8_0", "BF16")
    assert 1e-3 < query.error < error_bounds("Q8_0").tensor
    assert changed["blk.3.nextn.eh_proj.weight"].other is None
    assert "output_norm.weight" not in changed


def test_the_commands(converted, folder, tmp_path):
    code, shown, errors = run("verify", converted, "--against", folder)
    assert (code, errors.count("error")) == (0, 0)
    assert shown.splitlines()[-1].startswith(f"{converted} holds what {folder} has: ")
    spoilt = spoil(converted, tmp_path, "blk.1.attn_q.weight", lambda data: data.fill(1))
    code, shown, errors = run("verify", spoilt, "--against", folder)
    assert code == 2
    assert "blk.1.attn_q.weight (Q8_0) is off by" in shown
    assert "does not hold what" in errors and "(1 problem)" in errors
    code, shown, _ = run("inspect", "--diff", converted, spoilt, "--values")
    assert code == 0
    assert shown.splitlines()[0].startswith("! blk.1.attn_q.weight  values differ by ")
    assert run("inspect", converted, "--values")[0] == 2


@pytest.mark.parametrize("type_name", KERNEL_TYPES)
def test_every_type_has_bounds(type_name):
    bounds = error_bounds(type_name)
    assert 0 < bounds.tensor <= bounds.row


FAST = ("Q8_0", "Q4_0")
OTHERS = sorted(set(TARGET_TYPES) - NEEDS_IMPORTANCE - set(FAST))


@pytest.mark.parametrize(
    "type_name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)]
)
def test_weights_with_long_tails_stay_within_the_bounds_of_their_type(type_name):
    weights = (0.02 * np.random.default_rng(0).standard_t(4, (16, 1024))).astype(np.float32)
    found = dequantize_rows(quantize_rows(weights, type_name), type_name)
    relative = np.linalg.norm(found - weights, axis=1) / np.linalg.norm(weights, axis=1)
    bounds = error_bounds(type_name)
    assert np.linalg.norm(found - weights) / np.linalg.norm(weights) <= bounds.tensor
    assert relative.max() <= bounds.row
