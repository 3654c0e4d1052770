"""What is compiled for a vocabulary is compiled once, however many answers are held to it."""

from __future__ import annotations

import gc
import weakref

import pytest

from glmq.constraint import grammar_guide, json_schema_constraint, kept_results, tool_call_constraint

from .guided_output import small_tokenizer

TOOL = {"function": {"name": "add", "parameters": {"properties": {"a": {"type": "integer"}}}}}


@pytest.fixture
def tokenizer(tmp_path):
    return small_tokenizer(tmp_path)


@pytest.fixture
def compiled(monkeypatch):
    """The grammars that are compiled from now on."""
    grammars = []
    compiled_matcher = grammar_guide.compiled_matcher

    def noted(grammar, *more):
        grammars.append(grammar)
        return compiled_matcher(grammar, *more)

    monkeypatch.setattr(grammar_guide, "compiled_matcher", noted)
    return grammars


@pytest.mark.parametrize(
    "constraint_for",
    (
        lambda tokenizer: tool_call_constraint([TOOL], tokenizer),
        lambda tokenizer: json_schema_constraint({"type": "integer"}),
    ),
)
def test_the_second_answer_compiles_nothing(tokenizer, compiled, constraint_for):
    first = constraint_for(tokenizer)
    first.guide(tokenizer)
    assert compiled == [first.grammar]
    assert constraint_for(tokenizer) == first
    constraint_for(tokenizer).guide(tokenizer)
    assert compiled == [first.grammar]


def test_answers_that_share_a_grammar_go_their_own_ways(tokenizer):
    constraint = json_schema_constraint({"type": "boolean"})
    one, other = constraint.guide(tokenizer), constraint.guide(tokenizer)
    for token in tokenizer.encode("true"):
        one.accept(token)
    assert one.finished and not other.finished
    for token in tokenizer.encode("false"):
        other.accept(token)
    assert other.finished


def test_other_options_are_another_grammar(tokenizer):
    free = tool_call_constraint([TOOL], tokenizer)
    assert tool_call_constraint([TOOL], tokenizer, must_call=True) != free
    assert tool_call_constraint([TOOL], tokenizer, max_calls=1) != free


def test_a_bounded_number_of_results_is_kept(tokenizer):
    made = []

    @kept_results.kept_by_tokenizer
    def made_for(tokenizer, number):
        made.append(number)
        return number

    for number in (*range(kept_results.N_KEPT + 1), kept_results.N_KEPT, 0):
        assert made_for(tokenizer, number) == number
    assert made == [*range(kept_results.N_KEPT + 1), 0]


def test_a_vocabulary_that_is_let_go_of_is_forgotten(tmp_path):
    tokenizer = small_tokenizer(tmp_path)
    tool_call_constraint([TOOL], tokenizer).guide(tokenizer)
    known = weakref.ref(tokenizer)
    del tokenizer
    gc.collect()
    assert known() is None
