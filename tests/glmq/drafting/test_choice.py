"""What a caller chooses to have answers drafted by: look-up, the model's own layer, another file, nothing."""

from __future__ import annotations

import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.forecast.memory import forecast_memory
from glmq.gguf import open_gguf
from glmq.model_settings import model_settings

from ..small_models import add_prediction, add_prediction_alone, write_glm4moe, write_llama
from ..test_generation import FREE, GREEDY

PROMPT = "Once more, once more, once"


def drafters(model):
    """Names of what guesses in an answer."""
    session = model.session()
    if model._drafting is None:
        return []
    user = session  # anything that can be referred to weakly
    return [each.name for each in model._drafting.of_answer(session, user, model.tokenizer)._drafters]


@pytest.fixture(scope="module")
def with_layer(tmp_path_factory):
    path = tmp_path_factory.mktemp("layer") / "predicting.gguf"
    return write_glm4moe(path, "Q8_0", change=add_prediction)


@pytest.mark.parametrize(
    ("draft", "expected"),
    [("auto", ["lookup", "mtp"]), ("off", []), ("lookup", ["lookup"]), ("mtp", ["mtp"])],
)
def test_of_a_file_with_the_layer(with_layer, draft, expected):
    with glmq.load(with_layer, draft=draft) as model:
        assert drafters(model) == expected


def test_of_the_layer_in_a_file_of_its_own(small_path, tmp_path):
    alone = write_glm4moe(tmp_path / "mtp-small.gguf", "Q8_0", change=add_prediction_alone)
    with glmq.load(small_path, draft=alone) as model:
        assert drafters(model) == ["lookup", "mtp"]


@pytest.mark.parametrize(("ram", "plans_layer"), [(None, True), (1_000_000, False)])
def test_plans_have_the_layer_where_loading_has_it(with_layer, ram, plans_layer):
    with open_gguf(with_layer) as file:
        planned = forecast_memory(file, model_settings(file, 64, 1, activations="int8", ram=ram), "mmap")
    assert (planned.program.prediction is not None) == plans_layer


def test_where_not_all_fits_into_memory_the_layer_is_left_out(with_layer, monkeypatch):
    monkeypatch.setattr("glmq.load_model.layer_by_itself", lambda *arguments: (None, []))
    with glmq.load(with_layer) as model:
        assert drafters(model) == ["lookup"]


def test_of_a_file_without_the_layer(small_path):
    with glmq.load(small_path) as model:
        assert drafters(model) == ["lookup"]
    with pytest.raises(GlmqError, match="has no layer of multi-token prediction; name a file that has it"):
        glmq.load(small_path, draft="mtp")
    with pytest.raises(GlmqError, match="give what drafts"):
        glmq.load(small_path, draft="")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MTP", "MTP: no such file, and none of auto, off, lookup, mtp"),
        ("nowhere.gguf", "nowhere.gguf: no such file"),
        (__file__, "not a GGUF file"),
    ],
)
def test_a_file_that_cannot_draft_is_told_as_that(small_path, name, told):
    with pytest.raises(GlmqError, match=told) as raised:
        glmq.load(small_path, draft=name)
    assert raised.value.setting == "draft"


def test_a_draft_model_guesses_and_answers_are_the_same(small_path, tmp_path):
    """The model drafts for itself, which is always right when it is greedy."""
    with glmq.load(small_path, n_ctx=256, draft="off", deterministic=True) as model:
        expected = [model.generate(PROMPT, sampling=each, max_tokens=40) for each in (GREEDY, FREE)]
        for each in expected:
            each.run()
    with glmq.load(small_path, n_ctx=256, draft=small_path, deterministic=True) as model:
        assert drafters(model) == ["lookup", "model"]
        model._drafting._experience.costs = Flat()
        model._drafting._lookup = False
        found = [model.generate(PROMPT, sampling=each, max_tokens=40) for each in (GREEDY, FREE)]
        for each in found:
            each.run()
        line = model.drafts.line()
    assert [each.tokens for each in found] == [each.tokens for each in expected]
    greedy = found[0].timings
    assert greedy.n_accepted > 0.8 * greedy.n_drafted > 0
    assert f"{sum(each.timings.n_drafted for each in found)} by model" in line


class Flat:
    """Runs cost so much that any guess is worth its time."""

    def estimate(self, n_rows):
        return 1e3 + 1e-3 * n_rows


def test_a_draft_model_with_other_tokens_is_refused_in_a_line(small_path, tmp_path):
    def rename(model):
        tokens = list(model.writer.kv_data[0]["tokenizer.ggml.tokens"].value)
        model.set("tokenizer.ggml.tokens", [*tokens[:-1], "<|other|>"])

    other = write_llama(tmp_path / "other.gguf", change=rename)
    with pytest.raises(
        GlmqError, match=r"other.gguf cannot draft for small.gguf: its token 319 is '<\|other"
    ):
        glmq.load(small_path, draft=other)


def test_closing_a_model_closes_what_drafts_for_it(small_path):
    model = glmq.load(small_path, draft=small_path)
    other = model._draft_model
    model.close()
    with pytest.raises(glmq.ModelClosed):
        other.session()
