"""Chat completions, as the openai client asks for them and reads them."""

from __future__ import annotations

import json

import openai
import pytest

from .running_server import RunningServer, data_of

CAPITAL = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = [{"role": "user", "content": "How is the weather in Oslo?"}]
ANSWER = "The capital of France is Paris."
NO_THINKING = {"chat_template_kwargs": {"enable_thinking": False}}


@pytest.fixture(scope="module")
def client(server):
    return server.openai()


def asked(client, messages=CAPITAL, **more):
    extra = {**NO_THINKING, **more.pop("extra_body", {})}
    return client.chat.completions.create(
        model="any", messages=messages, temperature=0, extra_body=extra, **more
    )


def test_an_answer_has_its_text_its_reason_and_its_tokens(client, demo_tools):
    completion = asked(client)
    (choice,) = completion.choices
    assert choice.message.content == ANSWER
    assert choice.finish_reason == "stop"
    assert completion.usage.completion_tokens == len(demo_tools.tokenize(ANSWER))
    assert (
        completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    )
    assert completion.model == "any"
    assert completion.timings["predicted_n"] == completion.usage.completion_tokens


def test_thinking_comes_apart_and_is_counted(client):
    completion = client.chat.completions.create(model="any", messages=CAPITAL, temperature=0)
    message = completion.choices[0].message
    assert message.reasoning_content.startswith("They ask for the capital of France.")
    assert "think>" not in message.content
    details = completion.usage.completion_tokens_details
    assert 0 < details.reasoning_tokens < completion.usage.completion_tokens


@pytest.mark.parametrize(
    "switch",
    (
        {"reasoning_effort": "none"},
        {"thinking": {"type": "disabled"}},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ),
)
def test_thinking_is_switched_off_by_every_name_of_the_switch(client, switch):
    completion = client.chat.completions.create(
        model="any", messages=CAPITAL, temperature=0, extra_body=switch
    )
    assert not hasattr(completion.choices[0].message, "reasoning_content")


def test_a_budget_ends_the_thinking(client, demo_tools):
    completion = client.chat.completions.create(
        model="any", messages=CAPITAL, temperature=0, extra_body={"thinking_budget_tokens": 3}
    )
    assert len(demo_tools.tokenize(completion.choices[0].message.reasoning_content)) <= 3


def test_a_stream_is_role_text_reason_and_usage(client):
    stream = asked(client, stream=True, stream_options={"include_usage": True})
    first, *pieces, end, usage = list(stream)
    assert first.choices[0].delta.role == "assistant"
    assert "".join(piece.choices[0].delta.content for piece in pieces) == ANSWER
    assert [piece.choices[0].finish_reason for piece in pieces] == [None] * len(pieces)
    assert end.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage.completion_tokens > 0
    assert all(chunk.usage is None for chunk in (first, *pieces, end))


def test_a_stream_without_the_option_has_no_usage(client):
    assert all(chunk.usage is None for chunk in asked(client, stream=True))


def test_the_raw_stream_ends_with_the_mark_that_clients_wait_for(server):
    body = {"messages": CAPITAL, "stream": True, "max_tokens": 2}
    response = server.http().post("/v1/chat/completions", json=body)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.endswith("data: [DONE]\n\n")
    assert {chunk["object"] for chunk in data_of(response.text)} == {"chat.completion.chunk"}


def test_a_call_streams_its_name_first_and_then_its_arguments(client, tools):
    chunks = list(asked(client, WEATHER, tools=tools, stream=True))
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or ()]
    assert calls[0].function.name == "get_weather" and calls[0].id.startswith("call_")
    assert all(call.index == 0 for call in calls)
    assert json.loads("".join(call.function.arguments for call in calls)) == {"city": "Oslo"}
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_call_is_answered_with_its_result(client, tools):
    message = asked(client, WEATHER, tools=tools).choices[0].message
    (call,) = message.tool_calls
    result = {"role": "tool", "tool_call_id": call.id, "content": '{"degrees": 3, "sky": "rain"}'}
    messages = [*WEATHER, message.model_dump(exclude_none=True), result]
    assert asked(client, messages, tools=tools).choices[0].message.content


@pytest.mark.parametrize("choice", ("required", {"type": "function", "function": {"name": "get_time"}}))
def test_a_call_that_is_asked_for_comes_first(client, tools, choice):
    message = asked(client, CAPITAL, tools=tools, tool_choice=choice).choices[0].message
    assert not message.content
    name = message.tool_calls[0].function.name
    assert name == "get_time" if isinstance(choice, dict) else name in [t["function"]["name"] for t in tools]
    assert isinstance(json.loads(message.tool_calls[0].function.arguments), dict)


def test_without_a_choice_of_tools_none_is_called(client, tools):
    message = asked(client, WEATHER, tools=tools, tool_choice="none", max_tokens=20).choices[0].message
    assert message.tool_calls is None


def test_tools_of_other_services_are_passed_over(client, tools):
    completion = asked(client, WEATHER, extra_body={"tools": [{"type": "web_search"}, *tools]})
    assert completion.choices[0].message.tool_calls[0].function.name == "get_weather"


def test_an_answer_is_held_to_a_schema(client):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}},
        "required": ["city"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}
    answer = asked(client, response_format=form, max_tokens=100).choices[0].message.content
    assert list(json.loads(answer)) == ["city"]


@pytest.mark.parametrize("question", (CAPITAL, WEATHER))
def test_with_tools_and_a_schema_an_answer_is_a_call_or_fits(client, tools, question):
    schema = {"type": "object", "properties": {"a": {"type": "integer", "maximum": 9}}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "number", "schema": schema}}
    choice = asked(client, question, tools=tools, response_format=form, max_tokens=60).choices[0]
    if question is WEATHER:
        assert choice.message.tool_calls[0].function.name == "get_weather"
    else:
        assert "a" in json.loads(choice.message.content)


@pytest.mark.parametrize(
    ("asks", "names", "tagged"),
    (
        ({}, ["reasoning_content"], False),
        ({"reasoning": {"enabled": True}}, ["reasoning_content", "reasoning"], False),
        ({"reasoning": {"exclude": True}}, [], False),
        ({"reasoning_format": "none"}, [], True),
    ),
)
def test_thinking_is_told_by_the_names_that_are_asked_for(client, asks, names, tagged):
    request = {"model": "x", "messages": CAPITAL, "temperature": 0, "extra_body": asks}
    message = client.chat.completions.create(**request).choices[0].message.model_dump()
    deltas = [
        chunk.choices[0].delta.model_dump()
        for chunk in client.chat.completions.create(**request, stream=True)
    ]
    assert [name for name in ("reasoning_content", "reasoning") if message.get(name)] == names
    for name in ("content", *names):
        assert "".join(delta.get(name) or "" for delta in deltas) == message[name]
    assert message["content"].startswith("<think>") == tagged == ("</think>" in message["content"])


def test_a_stream_tells_progress_and_timings_where_they_are_asked_for(server):
    body = {"messages": [{"role": "user", "content": "word " * 300}], "stream": True, "max_tokens": 5}
    asks = {"return_progress": True, "timings_per_token": True}
    chunks = data_of(server.http().post("/v1/chat/completions", json={**body, **asks}).text)
    progress = [chunk["prompt_progress"] for chunk in chunks if "prompt_progress" in chunk]
    assert progress[-1]["processed"] == progress[-1]["total"] > 300
    assert progress[0]["cache"] <= progress[0]["processed"] <= progress[0]["total"]
    timings = [chunk["timings"]["predicted_n"] for chunk in chunks if "timings" in chunk]
    assert timings == sorted(timings) and timings[-1] == 5 and len(timings) > 1


def test_what_a_developer_says_reaches_the_model(script, glm_4_7):
    script.replies = ["</think>done"]
    with RunningServer(glm_4_7) as server:
        asked(server.openai(), [{"role": "developer", "content": "Answer in rhyme."}, *CAPITAL])
    assert "<|system|>Answer in rhyme." in script.prompts[0].replace("\n", "")


@pytest.mark.parametrize("content", (None, ""))
def test_a_message_of_calls_needs_no_content(client, tools, content):
    function = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    calls = [{"id": "c", "type": "function", "function": function}]
    messages = [
        *WEATHER,
        {"role": "assistant", "content": content, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "c", "content": None},
    ]
    assert asked(client, messages, tools=tools, max_tokens=5).choices


@pytest.mark.parametrize("arguments", ('{"city": "Os', '["Oslo"]', "Oslo"))
def test_a_call_that_was_cut_is_given_back_as_it_was_written(script, glm_4_7, arguments):
    script.replies = ["</think>done"]
    calls = [{"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": arguments}}]
    told = {"role": "tool", "tool_call_id": "c", "content": "these arguments are not JSON"}
    with RunningServer(glm_4_7) as server:
        body = {"messages": [*CAPITAL, {"role": "assistant", "tool_calls": calls}, told]}
        assert server.http().post("/v1/chat/completions", json=body).status_code == 200
    assert f"<arg_value>{arguments}</arg_value>" in script.prompts[0]


@pytest.mark.parametrize(
    ("thinking", "is_kept"),
    (
        ({"type": "enabled", "clear_thinking": True}, False),
        ({"type": "enabled", "clear_thinking": False}, True),
    ),
)
def test_earlier_thinking_is_left_out_where_that_is_asked_for(script, glm_4_7, thinking, is_kept):
    script.replies = ["more thought</think>done"]
    thought = {"role": "assistant", "content": "an answer", "reasoning_content": "an old thought"}
    with RunningServer(glm_4_7) as server:
        body = {"messages": [*CAPITAL, thought, *CAPITAL], "thinking": thinking}
        assert server.http().post("/v1/chat/completions", json=body).status_code == 200
    assert ("an old thought" in script.prompts[0]) == is_kept


def test_only_allowed_tools_are_called(client, tools):
    function = {"type": "function", "function": {"name": "get_time"}}
    choice = {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function]}}
    message = asked(client, WEATHER, extra_body={"tools": tools, "tool_choice": choice}).choices[0].message
    assert message.tool_calls[0].function.name == "get_time"


def test_an_answer_goes_on_where_the_models_end_is_ignored(client):
    completion = asked(client, max_tokens=30, extra_body={"ignore_eos": True})
    assert completion.usage.completion_tokens == 30


def test_a_call_that_is_cut_is_no_fault_of_the_server(server, tools):
    body = {"messages": WEATHER, "max_tokens": 12, "temperature": 0, **NO_THINKING}
    assert server.http().post("/v1/chat/completions", json={**body, "tools": tools}).status_code == 200
    assert (
        server.http()
        .post(
            "/api/chat",
            json={**body, "tools": tools, "think": False, "stream": False, "options": {"num_predict": 12}},
        )
        .status_code
        == 200
    )
    own = [{"name": t["function"]["name"], "input_schema": t["function"]["parameters"]} for t in tools]
    message = server.http().post(
        "/v1/messages", json={**body, "tools": own, "thinking": {"type": "disabled"}}
    )
    assert message.json()["content"][-1]["input"] in ({}, {"city": "Oslo"})


def test_log_probabilities_are_those_of_the_text(client):
    completion = asked(client, logprobs=True, top_logprobs=3)
    entries = completion.choices[0].logprobs.content
    assert bytes(byte for entry in entries for byte in entry.bytes).decode() == ANSWER
    for entry in entries:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == max(top.logprob for top in entry.top_logprobs) <= 0


def test_log_probabilities_stream_with_their_text(client):
    chunks = list(asked(client, logprobs=True, stream=True))
    entries = [e for chunk in chunks if chunk.choices[0].logprobs for e in chunk.choices[0].logprobs.content]
    assert "".join(entry.token for entry in entries) == ANSWER


def test_the_thinking_has_no_log_probabilities(client):
    completion = client.chat.completions.create(model="any", messages=CAPITAL, temperature=0, logprobs=True)
    choice = completion.choices[0]
    assert "".join(each.token for each in choice.logprobs.content).strip() == choice.message.content


def test_a_bias_forbids_a_token(client, demo_tools):
    token = demo_tools.tokenize(ANSWER)[0]
    answer = asked(client, logit_bias={str(token): -100}, max_tokens=8).choices[0].message.content
    assert not answer.startswith("The")


def test_several_answers_are_numbered_and_the_prompt_counts_once(client):
    one, several = asked(client), asked(client, n=3)
    assert [choice.index for choice in several.choices] == [0, 1, 2]
    assert {choice.message.content for choice in several.choices} == {ANSWER}
    assert several.usage.prompt_tokens == one.usage.prompt_tokens
    assert several.usage.completion_tokens == 3 * one.usage.completion_tokens


def test_a_seed_repeats_an_answer(client):
    def drawn():
        completion = client.chat.completions.create(
            model="any", messages=CAPITAL, temperature=1.5, seed=7, max_tokens=12, extra_body=NO_THINKING
        )
        return completion.choices[0].message.content

    assert drawn() == drawn()


@pytest.mark.parametrize("stop", (" Paris", ["nothing", " Paris"]))
def test_a_stop_text_ends_the_answer(client, stop):
    choice = asked(client, stop=stop).choices[0]
    assert (choice.message.content, choice.finish_reason) == ("The capital of France is", "stop")


@pytest.mark.parametrize("name", ("max_tokens", "max_completion_tokens"))
def test_a_limit_ends_the_answer(client, name):
    completion = asked(client, **{name: 3})
    assert completion.choices[0].finish_reason == "length"
    assert completion.usage.completion_tokens == 3


def test_the_second_turn_reads_only_what_is_new(server):
    client = server.openai()
    question = {"role": "user", "content": "What is the capital of Norway?"}
    first = asked(client)
    answer = {"role": "assistant", "content": first.choices[0].message.content}
    second = asked(client, [*CAPITAL, answer, question])
    assert second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens


def test_a_message_is_continued(client):
    messages = [*CAPITAL, {"role": "assistant", "content": "The capital of France"}]
    for asks in ({"continue_final_message": True}, {}):
        completion = asked(client, messages, extra_body=asks)
        assert completion.choices[0].message.content.strip() == "is Paris."


def test_a_prompt_that_is_too_long_is_told_by_its_code(client, demo_tools):
    messages = [{"role": "user", "content": "word " * demo_tools.n_ctx}]
    with pytest.raises(openai.BadRequestError) as error:
        asked(client, messages, stream=True)
    assert error.value.code == "context_length_exceeded"
    assert error.value.body["n_ctx"] == demo_tools.n_ctx


def test_unknown_fields_are_passed_over(client):
    extra = {"user": "me", "metadata": {"a": "b"}, "store": True, "prompt_cache_key": "k", "verbosity": "low"}
    assert asked(client, extra_body=extra).choices[0].message.content == ANSWER


def test_earlier_thinking_is_kept_where_it_is_given_back(script, glm_4_7):
    script.replies = ["more thought</think>done"]
    thought = {"role": "assistant", "content": "an answer", "reasoning_content": "an old thought"}
    with RunningServer(glm_4_7) as server:
        asked(server.openai(), [*CAPITAL, thought, *CAPITAL])
    assert "an old thought" in script.prompts[0]


def test_several_calls_come_with_their_numbers(script, glm_4_7, tools):
    call = "<tool_call>{}<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>"
    script.replies = ["</think>Well:" + call.format("get_weather") + call.format("get_time")]
    with RunningServer(glm_4_7) as server:
        chunks = list(
            server.openai().chat.completions.create(model="x", messages=WEATHER, tools=tools, stream=True)
        )
    calls = [call for chunk in chunks for call in chunk.choices[0].delta.tool_calls or () if call.id]
    assert [(call.index, call.function.name) for call in calls] == [(0, "get_weather"), (1, "get_time")]
    assert len({call.id for call in calls}) == 2
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Well:"
