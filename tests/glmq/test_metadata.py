"""Keys and tensors that change what a model computes are applied, neutral, or refused by name."""

from __future__ import annotations

import inspect

import gguf
import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.forecast.memory import forecast_memory
from glmq.gguf import open_gguf
from glmq.model_settings import model_settings
from glmq.models.deepseek2 import LATENT
from glmq.models.metadata import EXPERTS, NEUTRAL, NO_EFFECT, ROPE, SIZES, check_metadata
from glmq.models.rotary import read_rotary
from glmq.models.trunk import trunk_layers
from glmq.weights import Weights

from .small_models import EXPERT_WIDTH, HEAD_DIM, HIDDEN, N_EXPERTS, SmallModel, write_glm4moe, write_llama

ARCHITECTURES = {
    "deepseek2": SIZES | ROPE | EXPERTS | LATENT | {"nextn_predict_layers"},
    "glm4moe": SIZES | ROPE | EXPERTS | {"nextn_predict_layers"},
    "llama": SIZES | ROPE,
}
TOKENS = list(range(40))


def specified_keys() -> list[str]:
    """Names after the architecture of every key that the gguf package knows."""

    def keys(group: type) -> list[str]:
        found = []
        for value in vars(group).values():
            if inspect.isclass(value):
                found += keys(value)
            elif isinstance(value, str) and value.startswith("{arch}."):
                found.append(value.removeprefix("{arch}."))
        return found

    names = keys(gguf.constants.Keys)
    expanded = [name.replace("{dense}", dense) for name in names for dense in ("dense_2", "dense_3")]
    return sorted(set(expanded))


def header(tmp_path, architecture="glm4moe", **keys):
    """An open file of metadata alone; names of keys have `__` for a dot."""
    model = SmallModel(tmp_path / "model.gguf", architecture, "F32", 0)
    for key, value in keys.items():
        model.set(key.replace("__", "."), value)
    model.finish()
    return open_gguf(tmp_path / "model.gguf")


@pytest.mark.parametrize("name", specified_keys())
def test_every_key_of_the_specification_is_known(name):
    assert name in SIZES | ROPE | EXPERTS | NO_EFFECT | NEUTRAL.keys()


@pytest.mark.parametrize(
    ("architecture", "name"),
    [
        (architecture, name)
        for architecture, understood in ARCHITECTURES.items()
        for name in sorted(NEUTRAL.keys() - understood)
    ],
)
def test_a_key_that_changes_the_computation_is_refused_by_name(tmp_path, architecture, name):
    other = "another" if name in ("hidden_activation", "tensor_data_layout") else 7
    key = f"{architecture}.{name}"
    with (
        header(tmp_path, architecture, **{key: False if name == "attention.causal" else other}) as file,
        pytest.raises(GlmqError, match=f"{key} is (7|'another'|False), which glmq does not compute"),
    ):
        check_metadata(file, ARCHITECTURES[architecture], HEAD_DIM)


@pytest.mark.parametrize("name", sorted(NEUTRAL))
def test_a_neutral_value_is_none(tmp_path, name):
    for value in NEUTRAL[name]:
        with header(tmp_path, **{f"glm4moe.{name}": value}) as file:
            check_metadata(file, SIZES, HEAD_DIM)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("swiglu_clamp_exp", [0.0, 0.0, 0.0]),
        ("attention.scale", 0.125),
        ("attention.sliding_window", 4096),
        ("embedding_length_out", 256),
        ("something_of_its_own", 3),
        ("attention.sliding_window_pattern", [True, False]),
    ],
)
def test_what_says_only_what_holds_anyway_is_accepted(tmp_path, name, value):
    keys = {"glm4moe__context_length": 4096, "glm4moe__embedding_length": 256, f"glm4moe.{name}": value}
    with header(tmp_path, **keys) as file:
        check_metadata(file, SIZES, HEAD_DIM)


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("swiglu_clamp_exp", [0.0, 7.0], r"\[0.0, 7.0\]"),
        ("attention.scale", 0.1, "0.1"),
        ("attention.sliding_window", 4095, "4095"),
        ("rope.dimension_sections", [8, 12, 12, 0], r"\[8, 12, 12, 0\]"),
        ("final_logit_softcapping", 30.0, "30"),
        ("pooling_type", 3, "3"),
        ("classifier.output_labels", ["yes", "no"], r"\[yes, no\]"),
        ("logit_scale", float("nan"), "nan"),
    ],
)
def test_what_says_more_is_refused(tmp_path, name, value, shown):
    keys = {"glm4moe__context_length": 4096, f"glm4moe.{name}": value}
    with header(tmp_path, **keys) as file, pytest.raises(GlmqError, match=f"{name} is {shown}"):
        check_metadata(file, SIZES, HEAD_DIM)


def refusal(path) -> str:
    with pytest.raises(GlmqError) as found:
        glmq.load(path)
    message = str(found.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("write", (write_glm4moe, write_llama))
@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("attention.clamp_kqv", 8.0, "clamp_kqv is 8"),
        ("rope.scaling.type", "longrope", "scaling.type is 'longrope'"),
        ("rope.scaling.type", 7, "scaling.type must be text"),
        ("rope.scaling.factor", -2.0, "factor is -2"),
        ("attention.head_count", [4, 2, 4], "head_count differs from layer to layer"),
        ("feed_forward_length", [512, 256, 512], "feed_forward_length differs from layer to layer"),
    ],
)
def test_such_a_model_is_refused_when_it_is_loaded(tmp_path, write, name, value, named):
    def change(model):
        model.set(f"{model.writer.arch}.{name}", value)

    assert named in refusal(write(tmp_path / "model.gguf", "Q8_0", change=change))


def test_an_array_of_the_same_number_is_that_number(tmp_path):
    def change(model):
        model.set("glm4moe.attention.head_count", [4, 4, 4])
        model.set("glm4moe.feed_forward_length", [512, 512, 512])

    glmq.load(write_glm4moe(tmp_path / "model.gguf", "Q8_0", change=change)).close()


@pytest.mark.parametrize(
    ("kind", "named"), [("adapter", "an adapter"), ("mmproj", "image"), ("imatrix", "importance")]
)
def test_files_that_hold_no_model_are_named(tmp_path, kind, named):
    header(tmp_path, general__type=kind).close()
    assert named in refusal(tmp_path / "model.gguf")


@pytest.mark.parametrize("write", (write_glm4moe, write_llama))
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("blk.0.attn_sinks.weight", (4,)),
        ("blk.1.attn_q_a.weight", (64, 256)),
        ("blk.1.ffn_gate_inp.bias", (8,)),
        ("blk.0.ffn_down.bias", (256,)),
        ("blk.0.attn_norm.bias", (256,)),
        ("blk.0.attn_q.scale", (1,)),
        ("blk.0.post_ffw_norm.weight", (256,)),
        ("blk.9.attn_norm.weight", (256,)),
        ("token_embd_norm.weight", (256,)),
        ("position_embd.weight", (512, 256)),
        ("output.bias", (320,)),
        ("rope_factors_long.weight", (16,)),
        ("cls.weight", (2, 256)),
    ],
)
def test_a_tensor_that_would_not_be_used_is_named(tmp_path, write, name, shape):
    def change(model):
        model.floats(name, *shape, deviation=0.1)

    assert f"tensor {name} in the file" in refusal(write(tmp_path / "model.gguf", "Q8_0", change=change))


def test_experts_in_a_dense_layer_are_named(tmp_path):
    def change(model):
        model.floats("blk.0.ffn_gate_inp.weight", N_EXPERTS, HIDDEN, deviation=0.1)

    path = write_glm4moe(tmp_path / "model.gguf", "Q8_0", change=change)
    assert "blk.0.ffn_gate_inp.weight" in refusal(path)


def test_tables_of_old_conversions_are_passed_over(tmp_path):
    def change(model):
        model.floats("blk.0.attn_rot_embd.weight", HEAD_DIM // 2, deviation=0.1)

    glmq.load(write_llama(tmp_path / "model.gguf", "Q8_0", change=change)).close()


def test_the_width_of_the_shared_expert_may_be_given(tmp_path):
    def change(model):
        model.set("glm4moe.expert_shared_feed_forward_length", EXPERT_WIDTH)

    glmq.load(write_glm4moe(tmp_path / "model.gguf", "Q8_0", change=change)).close()


class TestRotary:
    """Frequencies and amplitude that the metadata gives; compared with transformers elsewhere."""

    def rotary(self, tmp_path, **keys):
        named = {f"glm4moe.rope.{key.replace('__', '.')}": value for key, value in keys.items()}
        with header(tmp_path, **named, glm4moe__context_length=512) as file:
            return read_rotary(file, Weights(file), 32, interleaved=False)

    @pytest.fixture
    def plain(self, tmp_path):
        return self.rotary(tmp_path).frequencies

    @pytest.mark.parametrize(
        "keys",
        [
            {"scaling__type": "none", "scaling__factor": 4.0},
            {"scaling__type": "linear"},
            {"scaling__factor": 1.0},
            {"scaling__factor": 0.0},
            {"scale_linear": 1.0},
            {"scaling__type": "yarn", "scaling__factor": 1.0},
        ],
        ids=str,
    )
    def test_neutral(self, tmp_path, plain, keys):
        found = self.rotary(tmp_path, **keys)
        np.testing.assert_array_equal(found.frequencies, plain)
        assert found.amplitude == 1

    @pytest.mark.parametrize(
        "keys",
        [
            {"scaling__type": "linear", "scaling__factor": 4.0},
            {"scaling__factor": 4.0},
            {"scale_linear": 4.0},
            {"scaling__type": "linear", "scale_linear": 4.0},
            {"scaling__factor": 4.0, "scale_linear": 9.0},
        ],
        ids=str,
    )
    def test_linear(self, tmp_path, plain, keys):
        np.testing.assert_array_equal(self.rotary(tmp_path, **keys).frequencies, plain / 4)

    def test_yarn_keeps_fast_pairs_and_divides_slow_ones(self, tmp_path, plain):
        found = self.rotary(tmp_path, scaling__type="yarn", scaling__factor=4.0)
        np.testing.assert_allclose(found.frequencies[[0, -1]], plain[[0, -1]] / [1, 4])
        assert found.amplitude == pytest.approx(1 + 0.1 * np.log(4))

    def test_the_amplitude_may_be_given(self, tmp_path):
        keys = {"scaling__type": "yarn", "scaling__factor": 4.0, "scaling__attn_factor": 0.5}
        assert self.rotary(tmp_path, **keys).amplitude == pytest.approx(0.5 * (1 + 0.1 * np.log(4)))

    def test_a_model_that_is_stretched_computes_something_else(self, tmp_path):
        logits = []
        for factor in (1.0, 4.0):
            path = write_glm4moe(
                tmp_path / f"{factor}.gguf",
                change=lambda model, factor=factor: model.set("glm4moe.rope.scale_linear", factor),
            )
            with glmq.load(path) as model:
                logits.append(model.logits(TOKENS))
        assert np.abs(logits[0] - logits[1]).max() > 0.1 * np.ptp(logits[0])


class TestTrunkLayers:
    """How many layers run, however the layer of multi-token prediction is counted or held."""

    def layers(self, tmp_path, blocks, predicted, held_at, without=()):
        """Of a model of three layers, with a layer of multi-token prediction at `held_at`."""
        without = [f"blk.{block}." for block in without]

        def change(model):
            model.set("glm4moe.block_count", blocks)
            if predicted is not None:
                model.set("glm4moe.nextn_predict_layers", predicted)
            for at in held_at:
                model.norm(f"blk.{at}.attn_norm.weight")
                model.norm(f"blk.{at}.nextn.enorm.weight")
                model.matrix(f"blk.{at}.nextn.eh_proj.weight", HIDDEN, 2 * HIDDEN)
            tensors = model.writer.tensors[0]
            for name in [name for name in tensors if name.startswith(tuple(without))]:
                del tensors[name]

        path = write_glm4moe(tmp_path / "model.gguf", "Q8_0", change=change)
        with glmq.load(path) as model:
            told = [each for each in model.remarks if "multi-token prediction is left out" in each]
            assert len(told) == bool(held_at), "what there is of the layer is no layer"
        with open_gguf(path) as file:
            assert (
                forecast_memory(file, model_settings(file, 64, 1, activations="int8"), "mmap").plan
                is not None
            )
            return trunk_layers(file)

    @pytest.mark.parametrize(
        ("blocks", "predicted", "held_at"),
        [
            (3, None, []),
            (3, 0, []),
            (3, 1, []),
            (4, 1, []),
            (4, 1, [3]),
            (3, 1, [3]),
            (4, None, [3]),
            (4, 0, [3]),
            (5, 2, [3, 4]),
            (3, 2, [3, 4]),
            (5, 2, []),
            (3, 1, [46]),
            (4, 1, [46]),
        ],
    )
    def test_all_layers_of_the_model_run(self, tmp_path, blocks, predicted, held_at):
        assert self.layers(tmp_path, blocks, predicted, held_at) == 3

    @pytest.mark.parametrize(
        ("blocks", "predicted", "held_at", "without", "named"),
        [
            (5, 1, [], [], "blk.3.attn_norm.weight is missing"),
            (4, None, [], [], "blk.3.attn_norm.weight is missing"),
            (1 << 31, 1, [], [], "blk.3.attn_norm.weight is missing"),
            (4, 1, [3], [1], "blk.1.attn_norm.weight is missing"),
            (2, None, [], [], "tensor blk.2."),
            (4, 1, [3], [0, 1, 2], "no model layers"),
        ],
    )
    def test_a_file_that_lacks_layers_is_refused(self, tmp_path, blocks, predicted, held_at, without, named):
        with pytest.raises(GlmqError, match=named):
            self.layers(tmp_path, blocks, predicted, held_at, without)
