"""What models of GLM-4.7-Flash's kind do as all others: experts on disk, sessions, batches, chats, tools."""

from __future__ import annotations

import numpy as np
import pytest

import glmq
from glmq import benchmark
from glmq.gguf import open_gguf
from glmq.sampling.recommendations import recommended
from glmq.tokenizer import load_tokenizer

from .disk_models import load_from_disk
from .saved_sessions import assert_goes_on_alike, evaluated
from .server.running_server import RunningServer
from .small_models import N_VOCAB, TOP_K, write_deepseek2
from .test_closing import join, run_aside
from .test_command_line import run

GREEDY = glmq.Sampling(temperature=0)
PROMPT = np.random.default_rng(5).integers(0, N_VOCAB, 40).tolist()
HI = [{"role": "user", "content": "Hi"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"days": {"type": "integer", "minimum": 1, "maximum": 9}},
            "required": ["days"],
        },
    },
}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flash")
    return write_deepseek2(folder / "flash.gguf", "Q8_0", name="GLM-4.7-Flash", n_ctx=4096)


@pytest.fixture(scope="module")
def flash(path):
    with glmq.load(path) as model:
        yield model


@pytest.mark.parametrize("n_slots", (0, 2 * TOP_K))
@pytest.mark.parametrize("layout", ({}, {"fused": True}, {"old_layout": True, "fused": True}), ids=str)
def test_experts_on_disk(monkeypatch, tmp_path, layout, n_slots):
    """The logits of the mapped model to the last bit, also where gate and up are one tensor."""
    monkeypatch.setattr("glmq.experts.profile.cache_folder", lambda: tmp_path / "profiles")
    path = write_deepseek2(tmp_path / "model.gguf", "Q8_0", **layout)
    with glmq.load(path, n_ctx=128) as mapped:
        whole, single = mapped.logits(PROMPT), mapped.logits(PROMPT[:1])
    with load_from_disk(monkeypatch, path, n_slots, n_ctx=128) as model:
        np.testing.assert_array_equal(model.logits(PROMPT), whole)
        np.testing.assert_array_equal(model.logits(PROMPT[:1]), single)
        assert model.experts.statistics.misses > 0
        assert (model.experts.statistics.hits > 0) == (n_slots > 0)


@pytest.mark.parametrize("cache_type", ("F16", "Q8_0", "F32"))
def test_a_session_on_disk_goes_on_alike(path, tmp_path, cache_type):
    with glmq.load(path, cache_type=cache_type, n_ctx=256) as model:
        saved = evaluated(model)
        saved.save(tmp_path / "talk.session")
        assert_goes_on_alike(model.restore_session(tmp_path / "talk.session"), saved)


def test_what_one_answer_has_evaluated_another_uses_again(flash):
    text = "The same beginning of two texts"
    flash.generate(text, max_tokens=1).run()
    again = flash.generate(text + ", the second", max_tokens=1)
    again.run()
    assert again.timings.n_cached == len(text)


def test_answers_at_the_same_time_are_those_alone(path):
    prompts = [PROMPT[i:] for i in range(4)]
    with glmq.load(path, deterministic=True) as model:

        def answer(prompt):
            generation = model.generate(prompt, sampling=GREEDY, max_tokens=12)
            generation.run()
            return generation.tokens

        alone = [answer(prompt) for prompt in prompts]
        threads = [run_aside(lambda prompt=prompt: answer(prompt)) for prompt in prompts]
        for thread, _ in threads:
            join(thread)
        assert [found[0] for _, found in threads] == alone


def test_an_answer_begins_inside_its_thinking(flash):
    answer = flash.chat(HI, sampling=GREEDY, max_tokens=5)
    answer.run()
    assert flash.detokenize(answer.generation.prompt).endswith("<|assistant|><think>")
    assert answer.message["reasoning_content"]
    silent = flash.chat(HI, sampling=GREEDY, max_tokens=5, thinking=False)
    silent.run()
    assert flash.detokenize(silent.generation.prompt).endswith("<|assistant|></think>")
    assert "reasoning_content" not in silent.message


def test_the_developer_is_heard(flash):
    """The model's own template drops the role."""
    messages = [{"role": "developer", "content": "Be brief."}, *HI]
    answer = flash.chat(messages, max_tokens=1)
    answer.run()
    assert "<|system|>Be brief.<|user|>Hi" in flash.detokenize(answer.generation.prompt)


def test_calls_of_tools_are_held_to_their_schema(flash):
    answer = flash.chat(
        HI, tools=[WEATHER], tool_choice="required", thinking=False, strict_tools=True, temperature=1,
        seed=1, max_tokens=200,
    )  # fmt: skip
    answer.run()
    [call] = answer.message["tool_calls"][:1]
    assert call["function"]["name"] == "weather"
    assert call["function"]["arguments"]["days"] in range(1, 10)


def test_ends_are_found_by_their_text(path):
    """Whatever the metadata names."""
    with open_gguf(path) as file:
        tokenizer = load_tokenizer(file)
        ends = {tokenizer.token_text(token) for token in tokenizer.eog_ids}
        assert ends == {"<|endoftext|>", "<|user|>", "<|observation|>"}
        assert recommended(file.metadata).top_p == 0.95


def test_a_piece_that_is_a_token_is_taken_before_any_merging(tmp_path):
    def with_a_whole_word(model):
        tokens = list(model.writer.kv_data[0]["tokenizer.ggml.tokens"].value)
        tokens[tokens.index("[PAD0]")] = "word"
        model.set("tokenizer.ggml.tokens", tokens)

    path = write_deepseek2(tmp_path / "model.gguf", "Q8_0", change=with_a_whole_word)
    with open_gguf(path) as file:
        tokenizer = load_tokenizer(file)
        assert [tokenizer.token_text(token) for token in tokenizer.encode("word")] == ["word"]
        assert len(tokenizer.encode("words")) == 5


def test_inspect(path):
    code, out, _ = run("inspect", path)
    assert code == 0
    assert "blk.1.attn_k_b.weight" in out and "deepseek2.attention.key_length_mla" in out


def test_a_measurement(flash):
    limits, plan = benchmark.Limits(1e9, 1e9), benchmark.Plan(repetitions=1)
    measured = benchmark._measure(flash, limits, plan, benchmark.Case(5, 0, 9, 1), lambda *told: None)
    assert measured.avg_ts > 0


def test_the_server_gives_what_the_model_says(tmp_path):
    """After a long prompt, whose attention is expanded; what is thought told apart from the answer."""
    path = write_deepseek2(tmp_path / "model.gguf", name="GLM-4.7-Flash", n_ctx=4096)
    messages = [{"role": "user", "content": "Hi " * 100}]
    with glmq.load(path) as model, RunningServer(model) as server:
        expected = model.chat(messages, temperature=0, max_tokens=12)
        expected.wait()
        completion = server.openai().chat.completions.create(
            model="any", messages=messages, temperature=0, max_tokens=12
        )
    message = completion.choices[0].message
    assert (message.reasoning_content or "") == expected.reasoning
    assert (message.content or "") == expected.content
    assert completion.usage.completion_tokens == 12
