"""Completions, as the openai client and lm-eval ask for them."""

from __future__ import annotations

import numpy as np
import pytest

import glmq

PROMPT = "The capital of France is"


@pytest.fixture(scope="module")
def client(server):
    return server.openai()


def continued(client, prompt=PROMPT, **more):
    return client.completions.create(model="any", prompt=prompt, temperature=0, **more)


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def test_a_text_is_continued_as_by_the_python_api(client, demo_tools):
    completion = continued(client, max_tokens=3)
    greedy = glmq.Sampling(temperature=0)
    assert completion.choices[0].text == demo_tools.generate(PROMPT, max_tokens=3, sampling=greedy).run()
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 3


def test_pieces_of_a_stream_make_the_text(client):
    chunks = list(continued(client, max_tokens=3, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)
    assert text == continued(client, max_tokens=3).choices[0].text
    assert chunks[-1].usage.completion_tokens == 3


def test_token_ids_are_continued_as_their_text(client, demo_tools):
    tokens = demo_tools.tokenize(PROMPT)
    assert continued(client, tokens, max_tokens=5).choices[0].text == (
        continued(client, max_tokens=5).choices[0].text
    )


def test_each_of_several_prompts_gets_its_answers_in_order(client):
    one, other = (continued(client, text, max_tokens=4).choices[0].text for text in (PROMPT, "def f("))
    both = continued(client, [PROMPT, "def f("], max_tokens=4, n=2)
    assert [choice.text for choice in both.choices] == [one, one, other, other]
    assert [choice.index for choice in both.choices] == [0, 1, 2, 3]


@pytest.mark.parametrize("max_tokens", (0, 1, 3))
def test_log_probabilities_of_the_prompt_are_those_of_its_logits(client, demo_tools, max_tokens):
    completion = continued(client, max_tokens=max_tokens, echo=True, logprobs=2)
    told = completion.choices[0].logprobs
    tokens = demo_tools.tokenize(PROMPT)
    expected = log_softmax(demo_tools.logits(tokens))[np.arange(len(tokens) - 1), tokens[1:]]
    assert told.tokens[: len(tokens)] == [demo_tools.tokenizer.token_text(token) for token in tokens]
    assert told.token_logprobs[0] is None and told.top_logprobs[0] is None
    np.testing.assert_allclose(told.token_logprobs[1 : len(tokens)], expected, rtol=1e-3, atol=1e-3)
    assert len(told.tokens) == len(tokens) + max_tokens
    assert completion.choices[0].text.startswith(PROMPT)


def test_offsets_say_where_tokens_begin_in_the_text(client):
    choice = continued(client, max_tokens=3, echo=True, logprobs=0).choices[0]
    for token, offset in zip(choice.logprobs.tokens, choice.logprobs.text_offset, strict=True):
        assert choice.text.startswith(token, offset)


def test_a_stop_text_ends_it(client):
    whole = continued(client, max_tokens=8).choices[0].text
    assert (
        continued(client, max_tokens=8, stop=whole[3:6]).choices[0].text == whole[: whole.index(whole[3:6])]
    )


def test_the_best_of_several_is_told(client):
    drawn = {"max_tokens": 4, "seed": 3, "n": 4, "logprobs": 0}
    several = client.completions.create(model="x", prompt=PROMPT, temperature=1.5, **drawn)
    best = client.completions.create(
        model="x", prompt=PROMPT, temperature=1.5, **{**drawn, "n": 1, "best_of": 4}
    )
    likelihoods = {np.mean(each.logprobs.token_logprobs): each.text for each in several.choices}
    assert [each.text for each in best.choices] == [likelihoods[max(likelihoods)]]
    assert best.usage.completion_tokens == several.usage.completion_tokens


def test_a_suffix_makes_it_fill_the_middle(client, server, demo_tools):
    completion = continued(client, "def f(", suffix="return x", max_tokens=4)
    marks = [demo_tools.tokenizer.token_id(f"<|code_{name}|>") for name in ("prefix", "suffix", "middle")]
    prompt = [marks[0], *demo_tools.tokenize("def f("), marks[1], *demo_tools.tokenize("return x"), marks[2]]
    assert completion.choices[0].text == continued(client, prompt, max_tokens=4).choices[0].text


def test_llama_servers_own_path_continues_as_well(server, client):
    body = {"prompt": PROMPT, "n_predict": 3, "temperature": 0}
    answer = server.http().post("/completion", json=body).json()
    assert answer["content"] == continued(client, max_tokens=3).choices[0].text
    assert answer["tokens_predicted"] == 3 and answer["stop_type"] == "limit"
    assert PROMPT not in answer["content"]


def test_a_grammar_holds_it(client):
    completion = continued(client, max_tokens=5, extra_body={"grammar": 'root ::= "yes" | "no"'})
    assert completion.choices[0].text in ("yes", "no")
