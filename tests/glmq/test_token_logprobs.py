"""Log-probabilities of generated tokens and of prompts, and the kinds of tokens of an answer."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError

import glmq
from glmq.chat.tool_choice import ToolChoice, tool_choice_of
from glmq.constraint import regex_constraint
from glmq.token_logprobs import CHUNK, prompt_logprobs, token_logprob

GREEDY = glmq.Sampling(temperature=0)
TOOL = {"type": "function", "function": {"name": "f"}}


def test_probabilities_of_all_tokens_sum_to_one():
    logits = np.random.default_rng(0).normal(size=50).astype(np.float32) * 5
    found = token_logprob(logits, 3, 50)
    assert np.isclose(sum(np.exp(logprob) for _, logprob in found.top), 1)
    assert dict(found.top)[3] == found.logprob
    assert [logprob for _, logprob in found.top] == sorted((p for _, p in found.top), reverse=True)


def test_each_generated_token_has_its_own_and_greedy_ones_are_the_likeliest(small):
    generation = small.generate("Hello", sampling=GREEDY, max_tokens=5, logprobs=2)
    generation.run()
    assert [each.token for each in generation.logprobs] == generation.tokens
    for each in generation.logprobs:
        assert len(each.top) == 2 and each.top[0] == (each.token, each.logprob)


def test_what_a_guide_forbids_keeps_its_probability(small):
    free = small.generate("Hello", sampling=GREEDY, max_tokens=1, logprobs=1)
    held = small.generate(
        "Hello", sampling=GREEDY, max_tokens=1, logprobs=1, constraint=regex_constraint("[xyz]")
    )
    for generation in (free, held):
        generation.run()
    (held_token, held_logprob), (free_token, free_logprob) = (
        generation.logprobs[0].top[0] for generation in (held, free)
    )
    assert held_token == free_token != held.tokens[0]
    assert held_logprob == pytest.approx(free_logprob, abs=1e-3)


def test_a_prompt_longer_than_a_chunk_has_those_of_its_logits(small_path):
    # A chunk's size decides in which form it is read, and forms round otherwise.
    with glmq.load(small_path, n_ctx=256, deterministic=True) as small:
        tokens = small.tokenize("abcdefg " * 12)
        assert len(tokens) > CHUNK
        found = prompt_logprobs(small.session(), tokens, 0)
        logits = small.logits(tokens).astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert found[0] is None and len(found) == len(tokens)
    told = [each.logprob for each in found[1:]]
    np.testing.assert_allclose(told, expected[np.arange(len(tokens) - 1), tokens[1:]], atol=1e-2)


@pytest.mark.parametrize(
    ("choice", "meaning"),
    (
        ("auto", ToolChoice()),
        (None, ToolChoice()),
        ("none", ToolChoice(offers_none=True)),
        ("required", ToolChoice(must_call=True)),
        ({"type": "function", "function": {"name": "f"}}, ToolChoice(must_call=True, name="f")),
        ({"type": "function", "name": "f"}, ToolChoice(must_call=True, name="f")),
    ),
)
def test_choices_of_tools(choice, meaning):
    assert tool_choice_of(choice, [TOOL]) == meaning


@pytest.mark.parametrize("choice", ("perhaps", {}, {"function": {"name": "g"}}, 1, {"function": 1}))
def test_choices_that_cannot_be_followed_are_refused(choice):
    with pytest.raises(GlmqError, match="tool_choice"):
        tool_choice_of(choice, [TOOL])
