"""What can be chosen about an answer: options, names in place of them, and names that nobody knows."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

import glmq
from glmq.chat.options import ChatOptionNames, ChatOptions
from glmq.sampling.changes import SamplingChanges, SamplingNames

from .scripted_chat import Script

QUESTION = [{"role": "user", "content": "Hello"}]


@pytest.fixture
def sampling_of(glm_4_7, monkeypatch):
    """The sampling that a chat comes to, and the rest of what is asked of `Model.generate`."""
    asked = {}

    def generate(model, prompt, **arguments):
        asked.update(arguments)
        return Script(["</think>Hi."]).generate(model, prompt, **arguments)

    monkeypatch.setattr(type(glm_4_7), "generate", generate)

    def sampling(**arguments):
        glm_4_7.chat(QUESTION, **arguments)
        return asked["sampling"]

    sampling.asked = asked
    return sampling


def test_every_field_can_be_given_by_its_name():
    names = [each.name for each in fields(glmq.Sampling)]
    assert [each.name for each in fields(SamplingChanges)] == names == list(SamplingNames.__annotations__)
    assert {each.name for each in fields(ChatOptions)} == set(ChatOptionNames.__annotations__)


def test_settings_of_sampling_change_what_suits_the_model(sampling_of):
    suits = sampling_of()
    assert sampling_of(temperature=0, seed=7) == replace(suits, temperature=0, seed=7)
    mine = glmq.Sampling(temperature=0.3, top_p=0.5)
    assert sampling_of(sampling=mine, top_p=0.9) == replace(mine, top_p=0.9)


def test_names_go_before_options(sampling_of):
    options = ChatOptions(temperature=0.1, max_tokens=5, seed=3)
    assert sampling_of(options=options).temperature == 0.1
    changed = sampling_of(options=options, temperature=0.2, max_tokens=None)
    assert (changed.temperature, changed.seed) == (0.2, 3)
    assert sampling_of.asked["max_tokens"] is None


def test_a_generation_takes_settings_of_sampling_too(small):
    first, second = (small.generate("x", temperature=5.0, seed=1, max_tokens=8) for _ in range(2))
    assert first.run() == second.run()
    with pytest.raises(TypeError, match=r"generate\(\) got .* 'top'; did you mean top_p\?"):
        small.generate("x", top=3)


@pytest.mark.parametrize(
    ("name", "nearest"),
    (
        ("temprature", "temperature"),
        ("max_token", "max_tokens"),
        ("enable_thinking", "thinking"),
        ("tool", "tools"),
        ("repetition_penalty", "repeat_penalty"),
    ),
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(small, name, nearest):
    with pytest.raises(TypeError, match=rf"unexpected keyword argument '{name}'; did you mean {nearest}\?"):
        small.chat(QUESTION, **{name: 1})
    with pytest.raises(TypeError, match=name):
        ChatOptions(**{name: 1})


def test_options_of_another_kind_are_refused(small):
    with pytest.raises(TypeError, match=r"options is .*glmq\.ChatOptions"):
        small.chat(QUESTION, options={"max_tokens": 3})


def test_wrong_values_are_refused_when_options_are_made():
    with pytest.raises(glmq.GlmqError, match="temperature is -1; it must be from 0"):
        ChatOptions(temperature=-1)
    with pytest.raises(TypeError, match="stop is 5"):
        ChatOptions(stop=5)


def test_options_tell_what_was_chosen():
    assert repr(ChatOptions()) == "ChatOptions()"
    assert repr(ChatOptions(stop="x", temperature=0)) == "ChatOptions(temperature=0, stop=('x',))"
    assert ChatOptions(stop="x") == replace(ChatOptions(), stop=["x", ""])
