"""Responses, as the openai client's helper and Codex read them."""

from __future__ import annotations

import json

import openai
import pytest

from .running_server import RunningServer, data_of

WEATHER = "How is the weather in Oslo?"


@pytest.fixture(scope="module")
def client(server):
    return server.openai()


@pytest.fixture(scope="module")
def flat(tools):
    """The tools in the form of responses."""
    return [{"type": "function", **tool["function"]} for tool in tools]


def test_the_clients_helper_reads_a_call(client, flat):
    with client.responses.stream(model="x", input=WEATHER, tools=flat, temperature=0) as stream:
        names = [event.type for event in stream]
        response = stream.get_final_response()
    reasoning, call = response.output
    assert reasoning.content[0].text.startswith("They want the weather")
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Oslo"})
    assert response.status == "completed" == names[-1].removeprefix("response.")
    assert response.usage.output_tokens_details.reasoning_tokens > 0


def test_events_of_a_text_come_in_their_order_and_are_numbered(server, script, glm_4_7):
    script.replies = ["a thought</think>an answer"]
    with RunningServer(glm_4_7) as running:
        body = {"model": "x", "input": "Hello", "stream": True}
        events = data_of(running.http().post("/v1/responses", json=body).text)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    kinds = [event["type"].removeprefix("response.") for event in events]
    told_once = [
        kind for i, kind in enumerate(kinds) if not (kind.endswith("delta") and kinds[i - 1] == kind)
    ]
    assert told_once == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done",
        "completed",
    ]  # fmt: skip
    texts = [item["content"][0]["text"] for item in events[-1]["response"]["output"]]
    assert texts == ["a thought", "an answer"]


def test_a_response_is_gone_on_from_by_its_id(client, flat):
    first = client.responses.create(model="x", input=WEATHER, tools=flat, temperature=0)
    call = next(item for item in first.output if item.type == "function_call")
    output = {"type": "function_call_output", "call_id": call.call_id, "output": '{"degrees": 3}'}
    second = client.responses.create(
        model="x", input=[output], previous_response_id=first.id, tools=flat, temperature=0
    )
    assert second.output_text
    assert second.usage.input_tokens_details.cached_tokens >= first.usage.input_tokens
    assert client.responses.retrieve(second.id).output == second.output


def test_a_response_that_is_not_to_be_stored_or_is_deleted_is_not_found(client):
    kept = client.responses.create(model="x", input="Hi", max_output_tokens=2)
    client.responses.delete(kept.id)
    unkept = client.responses.create(model="x", input="Hi", max_output_tokens=2, store=False)
    for response in (kept, unkept):
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(response.id)
        with pytest.raises(openai.BadRequestError, match="send the whole conversation") as error:
            client.responses.create(model="x", input="Hi", previous_response_id=response.id)
        assert error.value.code == "previous_response_not_found"


def test_items_of_one_turn_become_one_message(script, server, glm_4_7, flat):
    items = [
        {"role": "developer", "content": [{"type": "input_text", "text": "Be brief."}]},
        {"role": "user", "content": WEATHER},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "I look."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Well."}]},
        {"type": "function_call", "call_id": "c1", "name": "get_weather", "arguments": '{"city": "Oslo"}'},
        {"type": "local_shell_call", "id": "unknown here"},
        {
            "type": "function_call_output",
            "call_id": "c1",
            "output": [{"type": "input_text", "text": "rain"}],
        },
    ]
    with RunningServer(glm_4_7) as running:
        running.openai().responses.create(model="x", input=items, tools=[*flat, {"type": "web_search"}])
    prompt = script.prompts[0]
    turn = prompt.split("<|assistant|>", 1)[1]
    for earlier, later in zip(
        ("Be brief.", WEATHER, "I look.", "Well.", "<tool_call>get_weather"),
        (WEATHER, "I look.", "Well.", "<tool_call>get_weather", "rain"),
        strict=True,
    ):
        assert prompt.rindex(earlier) < prompt.rindex(later)
    assert turn.count("<|assistant|>") == 1  # that of the answer


def test_functions_of_a_namespace_are_offered_and_called_by_it(script, glm_4_7, flat):
    script.replies = [
        "</think><tool_call>get_time<arg_key>city</arg_key><arg_value>Oslo</arg_value></tool_call>"
    ]
    with RunningServer(glm_4_7) as running:
        grouped = [{"type": "namespace", "name": "mcp__demo", "description": "", "tools": flat}]
        body = {"model": "x", "input": WEATHER, "tools": grouped}
        response = running.http().post("/v1/responses", json=body).json()
    call = response["output"][-1]
    assert (call["name"], call["namespace"]) == ("get_time", "mcp__demo")


def test_a_limit_makes_a_response_incomplete(client):
    response = client.responses.create(model="x", input="Hi", max_output_tokens=2)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_thinking_is_kept_by_a_client_that_does_not_read_it(script, glm_4_7):
    script.replies = ["an old thought</think>an answer", "</think>another"]
    with RunningServer(glm_4_7) as running:
        client = running.openai()
        asks = {"model": "x", "store": False, "include": ["reasoning.encrypted_content"]}
        first = client.responses.create(input="Hello", **asks)
        items = [{"role": "user", "content": "Hello"}]
        for item in first.output:
            given = item.model_dump(exclude_none=True)
            given.pop("content" if item.type == "reasoning" else "status")
            items.append(given)
        client.responses.create(input=[*items, {"role": "user", "content": "And?"}], **asks)
    assert "an old thought" in script.prompts[1]


def test_input_tokens_are_counted_without_an_answer(server):
    body = {"input": "Hello", "instructions": "Be brief."}
    counted = server.http().post("/v1/responses/input_tokens", json=body).json()
    assert counted["object"] == "response.input_tokens" and counted["input_tokens"] > 5
