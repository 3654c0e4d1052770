"""Thinking stays free and ends in time; the answer behind it is held to what it must be."""

from __future__ import annotations

import json

import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import given, settings
from hypothesis import strategies as st

from glmq.chat.thinking_guides import AfterThinking, ThinkingBudget
from glmq.constraint import json_schema_constraint, regex_constraint
from glmq.gguf import open_gguf
from glmq.tokenizer import load_tokenizer

from .guided_output import KINDS, allowed, guided_output, real_vocabularies, small_tokenizer

ANSWER = json_schema_constraint(
    {
        "type": "object",
        "properties": {"a": {"enum": [1, 2]}},
        "required": ["a"],
        "additionalProperties": False,
        "x-guidance": {"whitespace_flexible": False, "key_separator": ": ?"},
    }
)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request, tmp_path_factory):
    """A vocabulary for each way to have the tags."""
    return small_tokenizer(tmp_path_factory.mktemp("vocabulary"), request.param)


@pytest.fixture(scope="module")
def spelled(tmp_path_factory):
    """A vocabulary in which the tags are several tokens."""
    return small_tokenizer(tmp_path_factory.mktemp("vocabulary"))


def said(tokenizer, text, in_reasoning, constraint=ANSWER, budget=None, seed=0, **more):
    """What comes of a model that wants to say `text` under the constraint after thinking."""
    guide = AfterThinking(lambda: constraint.guide(tokenizer), tokenizer, in_reasoning)
    if budget is not None:
        guide = ThinkingBudget(budget, tokenizer, in_reasoning, guide)
    tokens, ended = guided_output(guide, tokenizer, seed, wanted=tokenizer.encode(text), **more)
    return tokenizer.decode(tokens), ended


@pytest.mark.parametrize(
    ("text", "in_reasoning"),
    [
        ('so {"a": 5}\n</think>{"a": 1}', True),
        ('so\n</think>\n{"a": 1}', True),
        ('</think>\n\n{"a": 1}', True),
        ('<think>hm </th </think>{"a": 2}', False),
        ('\n<think>hm</think>\n{"a": 2}', False),
        ('\n\n<think></think>{"a": 2}', False),
        ('{"a": 2}', False),
        ('\n{"a": 2}', False),
    ],
)
def test_what_is_right_is_left_alone(tokenizer, text, in_reasoning):
    found, _ = said(tokenizer, text, in_reasoning, max_tokens=len(tokenizer.encode(text)))
    assert found == text


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("in_reasoning", [True, False])
@pytest.mark.parametrize("start", ["", "<think>", "<thin", "<x", "\n\n\n", "hello", '{"b'])
def test_whatever_a_model_says_there_is_an_answer(tokenizer, start, in_reasoning, seed):
    text, ended = said(tokenizer, start, in_reasoning, budget=10, seed=seed, max_tokens=3000)
    assert ended
    _, closed, answer = text.rpartition("</think>")
    assert bool(closed) == (in_reasoning or text.lstrip().startswith("<think>"))
    assert json.loads(answer)["a"] in (1, 2)


def test_the_end_of_thinking_and_the_answer_are_never_one_token(spelled):
    guide = AfterThinking(lambda: ANSWER.guide(spelled), spelled, True)
    for token in spelled.encode("so</think"):
        guide.accept(token)
    found = allowed(guide, spelled.n_vocab)
    assert spelled.token_id(">{") not in found
    assert {spelled.token_id(">"), spelled.token_id(">Ċ"), spelled.token_id("ab")} <= found


def test_thinking_is_free_but_for_its_end(tokenizer):
    guide = AfterThinking(lambda: ANSWER.guide(tokenizer), tokenizer, True)
    assert allowed(guide, tokenizer.n_vocab) == set(range(tokenizer.n_vocab)) - tokenizer.eog_ids
    assert guide.forced() == ()
    assert not guide.finished


def test_an_answer_may_begin_like_thinking(tokenizer):
    constraint = regex_constraint("<(thing|think>)ab")
    assert said(tokenizer, "<thingab", False, constraint) == ("<thingab", True)
    text, ended = said(tokenizer, "<think>ab</think>\n<thingab", False, constraint)
    assert (text, ended) == ("<think>ab</think>\n<thingab", True)
    assert said(tokenizer, " ab", False, regex_constraint(" ab")) == (" ab", True)


def test_forced_text_of_the_answer_is_forced(tokenizer):
    guide = AfterThinking(lambda: regex_constraint("a long text").guide(tokenizer), tokenizer, False)
    assert guide.forced() == ()
    assert tokenizer.encode("a")[0] in allowed(guide, tokenizer.n_vocab)
    guide.accept(tokenizer.encode("a")[0])
    assert tokenizer.decode(guide.forced()) == " long text"


def budgeted(tokenizer, n, text, in_reasoning, max_tokens=80):
    """What comes of a model that wants to say `text` and has a budget."""
    guide = ThinkingBudget(n, tokenizer, in_reasoning)
    wanted = tokenizer.encode(text)
    return tokenizer.decode(guided_output(guide, tokenizer, max_tokens=max_tokens, wanted=wanted)[0])


@pytest.mark.parametrize(
    ("n", "said", "in_reasoning", "expected"),
    [
        (0, "xyz", True, "</think>"),
        (2, "uvxyz", True, "uv</think>"),
        (9, "uv</think>xyz", True, "uv</think>xyz"),
        (0, "<think>xyz", False, "<think></think>\n"),
        (2, "\n<think>uvxyz", False, "\n<think>uv</think>\n"),
        (0, "xyz", False, "xyz"),
        (2, "uv</think>x<think>wxyz", True, "uv</think>x<think>wxyz"),
        (2, "xyz<think>uvwxyz", False, "xyz<think>uvwxyz"),
        (2, "uv</think>xyz<think>uvwxyz", True, "uv</think>xyz<think>uvwxyz"),
    ],
)
def test_a_budget_closes_thinking(tokenizer, n, said, in_reasoning, expected):
    assert budgeted(tokenizer, n, said, in_reasoning).startswith(expected)


@pytest.mark.parametrize("between", ("", "\n", "\n\n", "<tool_call>f</tool_call>"))
def test_thinking_that_begins_anew_stays_within_the_budget(tokenizer, between):
    said = budgeted(tokenizer, 15, f"uv</think>{between}<think>{'w' * 60}", True, max_tokens=120)
    assert said.startswith(f"uv</think>{between}<think>w") and "w</think>" in said
    assert said.count("w") < 15
    free = budgeted(tokenizer, 15, f"uv</think>x<think>{'w' * 60}", True, max_tokens=120)
    assert free.startswith(f"uv</think>x<think>{'w' * 60}")


def test_a_budget_cuts_no_character(tokenizer):
    assert budgeted(tokenizer, 2, "a€xyz", True).startswith("a€</think>")


def test_a_negative_budget_is_refused(spelled):
    with pytest.raises(GlmqError, match="thinking budget of -1"):
        ThinkingBudget(-1, spelled, True)


@settings(max_examples=40, deadline=None)
@given(n=st.integers(0, 30), seed=st.integers(0, 99), in_reasoning=st.booleans())
def test_thinking_is_never_longer_than_its_budget(spelled, n, seed, in_reasoning):
    guide = ThinkingBudget(n, spelled, in_reasoning)
    begun = [] if in_reasoning else spelled.encode("<think>")
    tokens, _ = guided_output(guide, spelled, seed, max_tokens=100, wanted=begun)
    end = len(begun) + n + len("</think>") + 3
    assert len(tokens) < end or b"</think>" in spelled.decode_bytes(tokens[:end])


@real_vocabularies
def test_real_vocabularies(path):
    tokenizer = load_tokenizer(open_gguf(path))
    for seed, in_reasoning in ((1, True), (2, False)):
        text, ended = said(tokenizer, "<think>Well,", in_reasoning, budget=20, seed=seed)
        assert ended
        assert json.loads(text.rpartition("</think>")[2])["a"] in (1, 2)
        assert in_reasoning or "</think>\n" in text
