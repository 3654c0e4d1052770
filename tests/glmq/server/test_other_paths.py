"""What llama-server and Ollama have beside: tokens, templates, state, and NDJSON."""

from __future__ import annotations

import json

import pytest

from .running_server import RunningServer

WEATHER = [{"role": "user", "content": "How is the weather in Oslo?"}]


@pytest.fixture(scope="module")
def http(server):
    return server.http()


def test_tokens_and_texts_turn_into_each_other(http, demo_tools):
    tokens = http.post("/tokenize", json={"content": "Hello <|user|>"}).json()["tokens"]
    assert tokens == demo_tools.tokenize("Hello <|user|>")
    assert http.post("/detokenize", json={"tokens": tokens}).json() == {"content": "Hello <|user|>"}
    plain = http.post("/tokenize", json={"content": "<|user|>", "parse_special": False}).json()["tokens"]
    assert len(plain) > 1


def test_pieces_of_tokens_are_told(http):
    pieces = http.post("/tokenize", json={"content": "Hello", "with_pieces": True}).json()["tokens"]
    assert "".join(each["piece"] for each in pieces) == "Hello"


def test_the_prompt_of_a_conversation_is_shown(http):
    body = {"messages": WEATHER, "chat_template_kwargs": {"enable_thinking": False}}
    prompt = http.post("/apply-template", json=body).json()["prompt"]
    assert prompt.endswith("<|user|>How is the weather in Oslo?<|assistant|></think>")


def test_state_and_figures_are_told(http, server, demo_tools):
    assert http.get("/health").json() == {"status": "ok"}
    properties = http.get("/props").json()
    assert properties["default_generation_settings"]["n_ctx"] == demo_tools.n_ctx
    assert [slot["id"] for slot in http.get("/slots").json()] == list(range(properties["total_slots"]))
    before = _figure(http, "tokens_predicted_total")
    http.post("/v1/chat/completions", json={"messages": WEATHER, "max_tokens": 3})
    assert _figure(http, "tokens_predicted_total") == before + 3
    model = http.get("/v1/models").json()["data"][0]
    assert model["meta"]["n_ctx"] == model["max_model_len"] == demo_tools.n_ctx


def test_nothing_is_filled_in_without_the_tokens_for_it(small):
    with RunningServer(small) as running:
        response = running.http().post("/infill", json={"input_prefix": "a", "input_suffix": "b"})
    assert response.status_code == 501


def test_a_middle_is_filled_in(http):
    body = {"input_prefix": "def f(", "input_suffix": "return x", "n_predict": 4}
    assert http.post("/infill", json=body).json()["tokens_predicted"] <= 4


def test_ollamas_programs_find_the_model(http, server):
    assert http.get("/").text == "Ollama is running"
    (model,) = http.get("/api/tags").json()["models"]
    assert model["name"] == server.service.model_name
    assert "tools" in http.post("/api/show", json={"model": "x"}).json()["capabilities"]


def test_ollamas_chat_streams_lines_and_gives_arguments_as_an_object(http, tools):
    body = {"model": "x", "messages": WEATHER, "tools": tools, "options": {"temperature": 0}}
    lines = [json.loads(line) for line in http.post("/api/chat", json=body).text.splitlines()]
    calls = [call for line in lines for call in line["message"].get("tool_calls", ())]
    assert calls == [{"function": {"name": "get_weather", "arguments": {"city": "Oslo"}}}]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert "".join(line["message"].get("thinking", "") for line in lines).startswith("They want")
    assert lines[-1]["eval_count"] > 0


def test_ollamas_whole_answers_and_formats(http):
    body = {"prompt": "Say something.", "stream": False, "think": False, "format": "json"}
    body["options"] = {"temperature": 0, "num_predict": 200, "stop": ["}"]}
    answer = http.post("/api/generate", json=body).json()
    assert answer["done"] and answer["response"].startswith("{")


def test_ollamas_programs_load_the_model_by_asking_nothing(http):
    for path in ("/api/chat", "/api/generate"):
        assert http.post(path, json={"model": "x", "keep_alive": -1}).json()["done_reason"] == "load"


@pytest.mark.parametrize("path", ("/v1/embeddings", "/api/embed", "/v1/audio/speech", "/slots/0"))
def test_what_is_not_supported_is_told_in_one_line(http, path):
    response = http.post(path, json={"input": "x"})
    assert response.status_code == 501
    assert "not supported" in response.text or "cannot be saved" in response.text


def _figure(http, name):
    lines = http.get("/metrics").text.splitlines()
    return float(next(line for line in lines if line.startswith(f"llamacpp:{name} ")).split()[1])
