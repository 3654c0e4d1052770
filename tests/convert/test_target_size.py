"""Types of tensors for a file of a wanted size: chosen by measured errors, within the budget."""

from __future__ import annotations

import itertools
import math

import gguf
import numpy as np
import pytest
from glmq_convert.conversion import checkpoint_types, convert, quantize
from glmq_convert.importance import Importance, TensorSums
from glmq_convert.mixes import TypeChoice, choose_types, untyped_with_importance
from glmq_convert.plan import Piece, PlannedTensor
from glmq_convert.target_size import TargetSize, sampled_errors, types_for_size
from glmq_convert.target_size.choosing import cheapest_types
from glmq_convert.target_size.sensitivity import sensitivities
from glmq_kernels.errors import GlmqError
from glmq_kernels.formats.quantize import quantize_rows
from glmq_kernels.ops.embedding.dequantized_rows import dequantize_rows
from hypothesis import given
from hypothesis import strategies as st

from glmq.gguf import open_gguf

from ..glm4_moe_checkpoints import load_weights, save_checkpoint, write_weights

SHAPES = {
    "token_embd.weight": (96, 64),
    "output.weight": (96, 64),
    "blk.0.attn_q.weight": (64, 64),
    "blk.0.attn_norm.weight": (64,),
    "blk.0.ffn_gate_inp.weight": (4, 64),
    "blk.0.ffn_gate_exps.weight": (4, 32, 64),
    "blk.0.ffn_down_exps.weight": (4, 64, 32),
    "blk.1.nextn.eh_proj.weight": (64, 128),
}


class RandomWeights:
    """Weights for the tensors of SHAPES, each a source of its own name."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.rows = {
            name: rng.standard_normal((math.prod(shape[:-1]), shape[-1])).astype(np.float32)
            for name, shape in SHAPES.items()
        }

    def item_bytes(self, name):
        return 4

    def read(self, name, first_row, n_rows, buffer):
        return self.rows[name][first_row : first_row + n_rows]


@pytest.fixture(autouse=True)
def few_types(monkeypatch):
    """Types whose kernels other tests need too."""
    monkeypatch.setattr(sampled_errors, "CANDIDATES", ("Q4_0", "Q8_0"))


@pytest.fixture
def weights():
    return RandomWeights()


@pytest.fixture
def tensors():
    return [
        PlannedTensor(name, shape, (Piece(name, 0, math.prod(shape[:-1])),)) for name, shape in SHAPES.items()
    ]


def typed(tensors, choice):
    return {tensor.name: tensor for tensor in choose_types(tensors, choice, has_importance=False)}


@given(st.data())
def test_no_other_choice_within_the_budget_is_much_better(data):
    n_tensors = data.draw(st.integers(1, 4))
    number = st.integers(1, 60)
    costs, n_bytes = (
        {f"t{i}": dict(zip("abc", data.draw(st.tuples(number, number, number)), strict=True))
         for i in range(n_tensors)}
        for _ in range(2)
    )  # fmt: skip
    budget = data.draw(st.integers(1, 240))
    found = cheapest_types(costs, n_bytes, budget)
    every = [dict(zip(costs, types, strict=True)) for types in itertools.product("abc", repeat=n_tensors)]
    within = [one for one in every if sum(n_bytes[name][t] for name, t in one.items()) <= budget]
    assert (found is None) == (not within)
    if found is not None:
        assert found in within
        cost = sum(costs[name][t] for name, t in found.items())
        # what is left of the budget is less than one tensor's step, and so is what is lost
        most = max(max(known.values()) - min(known.values()) for known in costs.values())
        assert cost <= min(sum(costs[name][t] for name, t in one.items()) for one in within) + most


@pytest.mark.parametrize("n_bytes", (40_000, 34_000, 29_000))
def test_the_tensors_stay_within_the_size(weights, tensors, n_bytes):
    choice = types_for_size(tensors, weights, TargetSize(n_bytes), TypeChoice())
    assert 0.8 * n_bytes < sum(tensor.n_bytes for tensor in typed(tensors, choice).values()) <= n_bytes


def test_the_size_may_be_told_in_bits_for_each_weight(weights, tensors):
    n_weights = sum(math.prod(tensor.shape) for tensor in tensors)
    by_bits = types_for_size(tensors, weights, TargetSize(bits_per_weight=7), TypeChoice())
    by_bytes = types_for_size(tensors, weights, TargetSize(int(n_weights * 7 / 8)), TypeChoice())
    assert by_bits == by_bytes


def test_what_is_small_and_matters_is_kept_finer_than_the_experts(weights, tensors):
    chosen = typed(tensors, types_for_size(tensors, weights, TargetSize(36_700), TypeChoice()))
    assert chosen["output.weight"].type == chosen["blk.0.attn_q.weight"].type == "Q8_0"
    assert chosen["blk.0.ffn_gate_exps.weight"].type == "Q4_0"


def test_vectors_routers_and_what_joins_drafts_keep_their_types(weights, tensors):
    chosen = typed(tensors, types_for_size(tensors, weights, TargetSize(29_000), TypeChoice()))
    assert chosen["blk.0.attn_norm.weight"].type == chosen["blk.0.ffn_gate_inp.weight"].type == "F32"
    assert chosen["blk.1.nextn.eh_proj.weight"].type == "Q8_0"


def test_what_the_user_says_of_a_tensor_holds(weights, tensors):
    given_by_user = TypeChoice(overrides=(("ffn_down_exps", "Q8_0"),), output="F16")
    chosen = typed(tensors, types_for_size(tensors, weights, TargetSize(45_000), given_by_user))
    assert chosen["blk.0.ffn_down_exps.weight"].type == "Q8_0"
    assert chosen["output.weight"].type == "F16"
    assert sum(tensor.n_bytes for tensor in chosen.values()) <= 45_000


def test_a_size_that_is_too_small_is_refused_with_the_least(weights, tensors):
    with pytest.raises(GlmqError, match="0.001 MB are too few; the least is 0.029 MB") as error:
        types_for_size(tensors, weights, TargetSize(900), TypeChoice())
    assert error.value.setting == "target_size"
    with pytest.raises(GlmqError, match="2 bits per weight are too few; the least is") as error:
        types_for_size(tensors, weights, TargetSize(bits_per_weight=2), TypeChoice())
    assert error.value.setting == "target_bpw"


@pytest.mark.parametrize("n_bytes", (520_000, 600_000))
def test_a_checkpoint_becomes_a_file_of_the_size(tmp_path, n_bytes):
    save_checkpoint(tmp_path / "model")
    size, told = TargetSize(n_bytes), []
    planned = checkpoint_types(tmp_path / "model", size=size)
    path = convert(tmp_path / "model", tmp_path, size=size, remark=told.append)
    assert path.name == f"model-{n_bytes / 1e6:g}MB.gguf"
    assert 0.9 * n_bytes < path.stat().st_size <= n_bytes
    found = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert found == {tensor.name: tensor.type for tensor in planned}
    assert len(set(found.values()) - {"F32"}) == 2 and any("was not run" in text for text in told)


def test_a_weight_that_is_no_number_is_told_and_on_request_0(tmp_path):
    save_checkpoint(tmp_path / "model")
    weights = load_weights(tmp_path / "model")
    weights["model.layers.1.self_attn.q_proj.weight"][0, 0] = math.nan
    write_weights(tmp_path / "model", {"model.safetensors": weights})
    size, path = TargetSize(520_000), tmp_path / "sized.gguf"
    with pytest.raises(GlmqError, match="q_proj.weight holds 1 value that is not a finite number"):
        convert(tmp_path / "model", path, size=size)
    assert convert(tmp_path / "model", path, size=size, allow_nan=True) == path


@pytest.mark.parametrize("wanted", ({}, {"n_bytes": 1, "bits_per_weight": 1.0}, {"n_bytes": 0}))
def test_sizes_that_cannot_be_are_refused(wanted):
    with pytest.raises(GlmqError):
        TargetSize(**wanted)


def test_errors_are_those_of_outputs_by_importance(weights, tensors):
    name = "blk.0.ffn_gate_exps.weight"
    importance = np.random.default_rng(1).uniform(0, 4, (4, 64)).astype(np.float32)
    [tensor] = [each for each in tensors if each.name == name]
    weighed = PlannedTensor(name, tensor.shape, tensor.pieces, importance=importance)
    found = sampled_errors.sampled_errors([weighed], weights)[name]
    rows = weights.rows[name].reshape(4, 32, 64)
    rounded = np.stack(
        [dequantize_rows(quantize_rows(rows[i], "Q4_0", importance=importance[i]), "Q4_0") for i in range(4)]
    )
    by_column = importance[:, None, :].astype(np.float64)
    expected = (by_column * (rounded - rows) ** 2).sum() / (by_column * rows**2).sum()
    assert found["Q4_0"] == pytest.approx(expected, rel=1e-4)
    assert found["Q8_0"] < found["Q4_0"] / 50


def test_sensitivities_of_layers_between_those_that_were_measured_lie_between_theirs():
    names = [f"blk.{i}.attn_q.weight" for i in range(5)]
    measured = {"blk.1.attn_q.weight": 0.01, "blk.3.attn_q.weight": 0.04}
    found = sensitivities(names, measured, tied=False)
    expected = dict(zip(names, (0.01, 0.01, 0.02, 0.04, 0.04), strict=True))
    assert found == pytest.approx(expected)


def test_kinds_that_were_not_measured_are_taken_in_proportion():
    names = ["blk.0.attn_q.weight", "blk.0.attn_k.weight", "output.weight"]
    constants = sensitivities(names, None, tied=False)
    found = sensitivities(names, {"blk.0.attn_q.weight": 3 * constants["blk.0.attn_q.weight"]}, tied=False)
    assert found == pytest.approx({name: 3 * value for name, value in constants.items()})


def test_an_embedding_that_is_the_output_too_matters_as_much():
    of_both = sensitivities(["token_embd.weight", "output.weight"], None, tied=False)
    of_one = sensitivities(["token_embd.weight"], None, tied=True)
    assert of_one["token_embd.weight"] == of_both["output.weight"] > of_both["token_embd.weight"]


def test_measured_sensitivities_decide(weights, tensors):
    gate, down = "blk.0.ffn_gate_exps.weight", "blk.0.ffn_down_exps.weight"
    for more, less in ((gate, down), (down, gate)):
        size = TargetSize(36_700, sensitivities={more: 100.0, less: 1e-6})
        chosen = typed(tensors, types_for_size(tensors, weights, size, TypeChoice()))
        assert (chosen[more].type, chosen[less].type) == ("Q8_0", "Q4_0")


def test_the_measuring_of_errors_tells_how_far_it_is(weights, tensors):
    told = []
    size = TargetSize(36_700, progress=lambda n, of: told.append((n, of)))
    types_for_size(tensors, weights, size, TypeChoice())
    assert told == [(i, 5) for i in range(1, 6)]


def test_an_importance_matrix_opens_the_types_that_need_one(tmp_path, monkeypatch):
    monkeypatch.setattr(sampled_errors, "CANDIDATES", ("IQ1_S", "Q4_0", "Q8_0"))
    tensor = PlannedTensor("blk.0.attn_q.weight", (4, 256), (Piece("blk.0.attn_q.weight", 0, 4),))
    sums = TensorSums(np.ones((1, 256), np.float32), np.ones(1, np.int64))
    importance = Importance("some.gguf", (), 1, 512, {tensor.name: sums})
    [without], [weighed] = (untyped_with_importance([tensor], each) for each in (None, importance))
    assert sampled_errors.candidates_of(without) == ["Q4_0", "Q8_0"]
    assert sampled_errors.candidates_of(weighed) == ["IQ1_S", "Q4_0", "Q8_0"]


@pytest.mark.parametrize("source_type", ("f32", "bf16"))
def test_a_gguf_file_of_floats_becomes_one_of_the_size(tmp_path, source_type):
    save_checkpoint(tmp_path / "model")
    source = convert(tmp_path / "model", tmp_path / "source.gguf", source_type)
    with open_gguf(source) as file:
        path = quantize(file, tmp_path / "sized.gguf", "q8_0", size=TargetSize(520_000))
        by_checkpoint = convert(tmp_path / "model", tmp_path / "other.gguf", size=TargetSize(520_000))
    types = [
        {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(each).tensors}
        for each in (path, by_checkpoint)
    ]
    assert types[0] == types[1]
