"""Layers of multi-token prediction in files of their own or in none, beside experts that are on disk, and
layers that do not fit."""

from __future__ import annotations

import os
from functools import partial

import pytest
from glmq_kernels.errors import GlmqError

from glmq.gguf import open_gguf
from glmq.models.trunk import holds_trunk, prediction_block

from ..disk_models import load_from_disk
from ..prediction_runs import load_predicting, load_without
from ..small_models import N_LAYERS, add_prediction, add_prediction_alone, write_glm4moe
from ..test_command_line import run
from .predicted_text import TEXT, WRITE


class TestFiles:
    """The layer in a file of its own."""

    @pytest.fixture(params=WRITE)
    def files(self, request, tmp_path):
        write = WRITE[request.param]
        change = partial(add_prediction_alone, own_tables=True)
        return (
            write(tmp_path / "trunk.gguf", "Q8_0"),
            write(tmp_path / "mtp.gguf", "Q8_0", change=change),
            write(tmp_path / "both.gguf", "Q8_0", change=partial(add_prediction, own_tables=True)),
        )

    def test_drafts_as_that_of_one_file(self, files):
        trunk, alone, both = files
        drafts = []
        for arguments in ((both,), (trunk, alone), (both, alone)):
            with load_predicting(*arguments) as model:
                session = model.session()
                session.evaluate(TEXT[:-1])
                drafts.append(session.draft(TEXT[-1:], 4))
        assert drafts[0] == drafts[1] == drafts[2]

    def test_that_of_the_layer_has_changed_meanwhile(self, files):
        trunk, alone, _ = files
        with load_predicting(trunk, alone) as model:
            session = model.session()
            session.evaluate(TEXT[:-1])
            os.truncate(alone, 4096)
            with pytest.raises(GlmqError, match="mtp.gguf"):
                session.draft(TEXT[-1:], 1)
            with pytest.raises(GlmqError, match="mtp.gguf"):
                session.evaluate(TEXT[-1:])

    def test_what_files_hold(self, files):
        found = []
        for path in files:
            with open_gguf(path) as file:
                found.append((holds_trunk(file), prediction_block(file)))
        assert found == [(True, None), (False, N_LAYERS), (True, N_LAYERS)]


def test_a_model_without_the_layer_drafts_nothing(path):
    with load_without(path) as model:
        session = model.session()
        session.evaluate(TEXT[:-1])
        assert session.draft(TEXT[-1:], 3) == []


def test_experts_on_disk(path, monkeypatch):
    """Those of the layer stay in memory; drafts are the same."""
    with load_predicting(path) as model:
        session = model.session()
        session.evaluate(TEXT[:-1])
        expected = session.draft(TEXT[-1:], 3)
    with load_from_disk(monkeypatch, path, 3, load=load_predicting) as model:
        assert len(model._program.expert_layers) == N_LAYERS - 1
        session = model.session()
        session.evaluate(TEXT[:-1])
        assert session.draft(TEXT[-1:], 3) == expected


def test_inspect_tells_of_the_layer(tmp_path):
    code, out, _ = run("inspect", write_glm4moe(tmp_path / "mtp.gguf", "Q8_0", change=add_prediction_alone))
    assert code == 0
    [line] = [line for line in out.splitlines() if "multi-token prediction" in line]
    assert f"a layer, block {N_LAYERS}, and no model" in line


def of_another_width(model):
    add_prediction_alone(model)
    model.set("glm4moe.attention.head_count", 8)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda model: None, "no layer of multi-token prediction"),
        (of_another_width, "attention.head_count is 8, not 4"),
        (lambda model: add_prediction_alone(model, block=5), "number of layers before it is 5, not 3"),
    ],
)
def test_a_layer_that_does_not_fit_is_refused(tmp_path, change, said):
    trunk = write_glm4moe(tmp_path / "trunk.gguf", "Q8_0", qk_norm=True)
    other = write_glm4moe(tmp_path / "mtp.gguf", "Q8_0", qk_norm=True, change=change)
    with pytest.raises(GlmqError) as found:
        load_predicting(trunk, other)
    assert said in str(found.value)
    assert "mtp.gguf" in str(found.value)
    assert "\n" not in str(found.value)
