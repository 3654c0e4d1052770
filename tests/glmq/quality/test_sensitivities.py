"""What errors in a model's tensors cost, measured by running it, and files of a size that follow from it."""

from __future__ import annotations

import numpy as np
import pytest
from click.testing import CliRunner
from glmq_convert.target_size import sampled_errors
from glmq_convert.target_size.sampled_errors import sampled_errors as errors_of
from glmq_kernels.errors import GlmqError

import glmq
from glmq.cli import main
from glmq.gguf import open_gguf
from glmq.quality import sensitivities
from glmq.quality.sensitivities import (
    DoesNotFitInMemory,
    SensitivityOptions,
    measure_sensitivities,
)

from ...glm4_moe_checkpoints import save_checkpoint
from ..small_models import N_LAYERS

ONE_LAYER = SensitivityOptions(n_chunks=1, n_layers=1)


CHUNK = 64


@pytest.fixture(scope="module", autouse=True)
def small_work():
    """Short chunks, and types whose kernels other tests need too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sensitivities, "COARSE", ("Q4_0",))
        patch.setattr(sensitivities, "DEFAULT_CONTEXT", CHUNK)
        patch.setattr(sampled_errors, "CANDIDATES", ("Q4_0", "Q8_0"))
        yield


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    """Some chunks, each byte of which is a token."""
    path = tmp_path_factory.mktemp("texts") / "some.txt"
    path.write_text("".join(np.random.default_rng(0).choice([*"abcdefghij ..,"], 2 * 512 + 8)))
    return path


@pytest.fixture(scope="module")
def measured(small_path, text):
    return measure_sensitivities(small_path, [text], ONE_LAYER)


def test_a_file_with_other_weights_in_a_tensor_is_the_same_model_else(small_path):
    with open_gguf(small_path) as file:
        name = "blk.1.attn_q.weight"
        zeros = np.zeros(file.tensor(name).n_bytes, np.uint8)
        other = file.with_weights({name: ("Q8_0", zeros)})
        assert not other.data(name).any() and file.data(name).any()
        np.testing.assert_array_equal(other.data("blk.0.attn_q.weight"), file.data("blk.0.attn_q.weight"))
        other.close()
        assert file.data(name).any()


def test_each_kind_of_tensor_is_measured_in_some_layer(small_path, measured):
    with open_gguf(small_path) as file:
        matrices = {
            name.split(".", 2)[-1]
            for name, tensor in file.tensors.items()
            if tensor.type == "Q8_0" and "ffn_gate_inp" not in name
        }
    assert {name.split(".", 2)[-1] for name in measured} == matrices
    assert all(value > 0 for value in measured.values())


def test_a_sensitivity_is_the_divergence_in_proportion_to_the_error(small_path, text, measured):
    name = "output.weight"
    with open_gguf(small_path) as file:
        source = sensitivities.gguf_model_source(file)
        [tensor] = [each for each in source.tensors if each.name == name]
        weights = source.weights([])
        rounded = sensitivities._rounded(tensor, weights, "Q4_0", None)
        error = errors_of([tensor], weights, types_of=lambda each: ["Q4_0"])[name]["Q4_0"]
        tokens = [*text.read_bytes()[: CHUNK - 1]]
        logits = []
        for changed in ({}, {name: ("Q4_0", rounded)}):
            with glmq.Model(file.with_weights(changed), n_ctx=CHUNK, activations="f32") as model:
                chunk = model.tokenize(text.read_text())[: len(tokens)]
                logits.append(model.logits(chunk)[CHUNK // 2 :].astype(np.float64))
    base, other = (each - np.log(np.exp(each).sum(1, keepdims=True)) for each in logits)
    kl = (np.exp(base) * (base - other)).sum(1).mean()
    assert measured[name] == pytest.approx(kl / error, rel=0.02)


def test_of_many_layers_the_ends_and_some_between_are_tried():
    tried = sensitivities._tried_layers(30, 6)
    assert tried[:2] == [0, 1] and tried[-2:] == [28, 29] and len(tried) == 6
    assert sensitivities._tried_layers(4, 6) == [0, 1, 2, 3]
    assert sensitivities._tried_layers(N_LAYERS, 1) == [0]


def test_a_model_that_does_not_fit_is_told_apart(small_path, text, monkeypatch):
    monkeypatch.setattr(sensitivities, "available_memory", lambda: 1000)
    with pytest.raises(DoesNotFitInMemory, match="of memory are free"):
        measure_sensitivities(small_path, [text])


def test_a_text_that_is_too_short_is_refused(small_path, tmp_path):
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(GlmqError, match="give a longer text"):
        measure_sensitivities(small_path, [tmp_path / "short.txt"])


def invoke(*arguments):
    """(exit code, all that was printed) of a command."""
    done = CliRunner().invoke(main, list(map(str, arguments)))
    return done.exit_code, done.output


@pytest.fixture
def one_layer(monkeypatch):
    monkeypatch.setattr(sensitivities.SensitivityOptions, "__init__", _one_layer)


def _one_layer(self, **others):
    for name, value in {"n_chunks": 1, "n_layers": 1, "n_threads": None}.items():
        object.__setattr__(self, name, value)


def test_a_file_of_a_size_with_a_text(small_path, text, tmp_path, one_layer):
    out = tmp_path / "sized.gguf"
    code, told = invoke("quantize", small_path, out, "--target-bpw", 6, "--calibrate", text)
    assert code == 0 and "what these change in what the model predicts" in told
    with open_gguf(out) as file:
        assert file.metadata["quantize.imatrix.file"] == "some.txt"
        assert {tensor.type for tensor in file.tensors.values()} == {"F32", "Q4_0", "Q8_0"}


def test_where_the_model_does_not_fit_that_is_said(small_path, text, tmp_path, monkeypatch):
    monkeypatch.setattr(sensitivities, "available_memory", lambda: 1000)
    code, told = invoke(
        "quantize", small_path, tmp_path / "sized.gguf", "--target-bpw", 6, "--calibrate", text
    )
    assert code == 0 and "--calibrate-with names a smaller file of the model" in told
    assert "the model was not run for it" in told


def test_a_checkpoint_is_run_as_a_file_that_goes_away(text, tmp_path, one_layer):
    save_checkpoint(tmp_path / "model")
    (tmp_path / "out").mkdir()
    code, told = invoke(
        "convert", tmp_path / "model", tmp_path / "out", "--target-size", "520K", "--calibrate", text
    )
    assert code == 0, told
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model-0.52MB.gguf"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--type", "q8_0", "--calibrate", "TEXT"], "only a wanted size needs texts"),
        (["--target-bpw", "6", "--calibrate-with", "demo"], "name a text that demo is to read"),
        (["--target-bpw", "6", "--calibrate", "no-such.txt"], "no-such.txt"),
    ],
)
def test_what_does_not_go_together_is_refused(small_path, text, tmp_path, arguments, told):
    given = [str(text) if each == "TEXT" else each for each in arguments]
    code, output = invoke("quantize", small_path, tmp_path / "sized.gguf", *given)
    assert code == 2 and told in output
    assert not (tmp_path / "sized.gguf").exists()
