"""Drafts under guides: answers are the same, and nothing is checked that a guide does not let follow."""

from __future__ import annotations

import numpy as np
import pytest

import glmq
from glmq.chat.thinking_guides import AfterThinking, ThinkingBudget
from glmq.constraint import grammar_constraint, json_schema_constraint, tool_call_constraint

from ..test_generation import FREE
from ..test_guided_generation import Fixed
from .test_same_answers import WRONG, both


@pytest.fixture(scope="module")
def model(small_path):
    """A model whose prompts take the row form, so that one session's bits are another's."""
    with glmq.load(small_path, n_ctx=256, deterministic=True) as loaded:
        yield loaded


def test_a_guide_sees_only_what_is_drawn(model):
    said = model.tokenize("so it is, and was")
    guides = []

    def new_guide():
        guides.append(Fixed(said[:3], said[3:6], allowed=range(40, 90)))
        return guides[-1]

    expected, found, generation = both(model, 0, sampling=FREE, max_tokens=30, new_guide=new_guide)
    assert found == expected
    assert guides[0].accepted == guides[1].accepted == generation.tokens


SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "n": {"type": "integer"}},
    "required": ["name", "n"],
    "additionalProperties": False,
}
TOOL = {"name": "look_up", "parameters": {**SCHEMA, "required": ["name"]}}


def schema_guide(tokenizer):
    return json_schema_constraint(SCHEMA).guide(tokenizer)


def grammar_guide(tokenizer):
    grammar = 'root ::= ([a-f] [a-f] (" is, " | ", ")){6} "and so on, for ever"'
    return grammar_constraint(grammar).guide(tokenizer)


def calls_guide(tokenizer):
    return tool_call_constraint([TOOL], tokenizer, must_call=True).guide(tokenizer)


def budget_guide(tokenizer):
    return ThinkingBudget(9, tokenizer, True, AfterThinking(lambda: schema_guide(tokenizer), tokenizer, True))


@pytest.mark.parametrize("new_guide", (schema_guide, grammar_guide, calls_guide, budget_guide))
@pytest.mark.parametrize("wrong", WRONG)
def test_under_a_guide(model, new_guide, wrong):
    expected, found, generation = both(
        model, wrong, sampling=FREE, max_tokens=120, logprobs=1, new_guide=lambda: new_guide(model.tokenizer)
    )
    assert found == expected
    assert generation.timings.n_accepted > 2


def test_guesses_that_a_guide_forbids_are_not_checked(model):
    even = range(0, 256, 2)  # a wrong guess is the number behind a right one
    _, _, generation = both(model, 3, sampling=FREE, max_tokens=40, new_guide=lambda: Fixed(allowed=even))
    assert generation.timings.n_drafted == generation.timings.n_accepted > 20


def test_a_grammar_says_how_many_guesses_it_allows_and_stays_where_it_is(model):
    encode, guide = model.tokenizer.encode, grammar_guide(model.tokenizer)
    for allowed, more in (("ab is, cd", ""), ("ab, ", "gh"), ("", "xy")):
        assert guide.n_allowed([*encode(allowed), *encode(more)]) == len(encode(allowed))
    assert guide.n_allowed([model.tokenizer.n_vocab]) == 0
    for token in encode("ab"):
        guide.accept(token)
    assert (guide.n_allowed(encode(", c")), guide.n_allowed(encode("ab"))) == (len(encode(", c")), 0)


def test_where_thinking_is_closed_no_guess_goes_on_with_it(model):
    encode, guide = model.tokenizer.encode, budget_guide(model.tokenizer)
    closing = encode("</think>", after_text=True)
    thinking = encode("abcdefghijkl")[:9]
    assert guide.n_allowed([*thinking, *encode("m")]) == len(thinking)
    assert guide.n_allowed([*thinking, *closing]) == len(thinking) + len(closing)
    for token in [*thinking, *closing, *encode("{")]:
        guide.accept(token)
    assert guide.n_allowed(encode("}")) == 0


def test_of_forced_tokens_those_that_were_guessed_cost_nothing(model):
    first, *rest, last = tokens = model.tokenize("abcdef")
    one_by_one, at_once = model.session(), model.session()
    for token in tokens:
        expected = one_by_one.evaluate([token])
    at_once.evaluate([first], draft=[*rest, last + 1])
    at_once.drawn = [*rest, last]
    at_once.take_known()
    assert (at_once.tokens, at_once.drawn) == ([first, *rest], [last])
    np.testing.assert_array_equal(at_once.evaluate([last]), expected)


def test_drafts_go_on_behind_forced_tokens(model):
    said, free = model.tokenize("abcd"), range(40, 90)
    expected, found, generation = both(
        model, 0, sampling=FREE, max_tokens=30, new_guide=lambda: Fixed(None, said, None, said, allowed=free)
    )
    assert found == expected
    n_drawn = 30 - 2 * len(said)
    assert generation.timings.saved_seconds > n_drawn - 8  # runs of a second: few are left
