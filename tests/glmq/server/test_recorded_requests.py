"""Bodies in the shape in which editors, agents and chat programs send them are answered with what these read.

Each file of `requests` has a path, a body, and what is streamed: a call, a text, or any of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .running_server import data_of

RECORDED = {
    path.stem: json.loads(path.read_text()) for path in Path(__file__, "../requests").resolve().glob("*.json")
}


def of_chat(text):
    chunks = data_of(text)
    assert text.endswith("data: [DONE]\n\n")
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    ends = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert ends[-1] and not any(ends[:-1])
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls", ())]
    name = "".join(call.get("name", "") for call in calls)
    arguments = "".join(call["arguments"] for call in calls)
    return "".join(delta.get("content") or "" for delta in deltas), name, arguments


def of_messages(text):
    events = [event for event in data_of(text) if event["type"] != "ping"]
    assert (events[0]["type"], events[-1]["type"]) == ("message_start", "message_stop")
    starts = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    deltas = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    name = "".join(block.get("name", "") for block in starts)
    arguments = "".join(delta.get("partial_json", "") for delta in deltas)
    return "".join(delta.get("text", "") for delta in deltas), name, arguments


def of_responses(text):
    events = data_of(text)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["type"] == "response.completed"
    items = events[-1]["response"]["output"]
    texts = [part["text"] for item in items if item["type"] == "message" for part in item["content"]]
    calls = [item for item in items if item["type"] == "function_call"]
    return "".join(texts), "".join(c["name"] for c in calls), "".join(c["arguments"] for c in calls)


def of_ollama(text):
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    calls = [call["function"] for line in lines for call in line["message"].get("tool_calls", ())]
    content = "".join(line["message"]["content"] for line in lines)
    return content, "".join(c["name"] for c in calls), "".join(json.dumps(c["arguments"]) for c in calls)


READERS = {
    "/v1/chat/completions": of_chat,
    "/v1/messages": of_messages,
    "/v1/responses": of_responses,
    "/api/chat": of_ollama,
}
STREAMED = [name for name, each in RECORDED.items() if each["events"] in ("text", "call", "any")]


def answered(server, name):
    recorded = RECORDED[name]
    response = server.http().post(recorded["path"], json=recorded["body"])
    assert response.status_code == 200, response.text
    return response


@pytest.mark.parametrize("name", STREAMED)
def test_what_a_client_sends_is_answered_with_the_events_that_it_reads(server, name):
    content, called, arguments = READERS[RECORDED[name]["path"]](answered(server, name).text)
    if RECORDED[name]["events"] == "call":
        assert called == "get_weather"
        assert list(json.loads(arguments)) == ["city"]
    elif RECORDED[name]["events"] == "text":
        assert content.strip() and not called and "think>" not in content


def test_a_title_is_the_object_that_is_asked_for(server):
    content, _, _ = of_messages(answered(server, "claude_code_title").text)
    assert list(json.loads(content)) == ["title"]


def test_a_title_comes_whole_where_it_is_not_streamed(server):
    completion = answered(server, "open_webui_title").json()
    assert completion["choices"][0]["message"]["role"] == "assistant"


def test_a_call_of_a_namespace_is_told_by_it(server):
    call = data_of(answered(server, "codex").text)[-1]["response"]["output"][-1]
    assert call["namespace"] == "mcp__weather"


def test_tokens_are_counted(server):
    assert answered(server, "claude_code_count").json()["input_tokens"] > 100


def test_a_gap_in_code_is_filled(server):
    chunks = data_of(answered(server, "continue_autocomplete").text)
    assert chunks[-1]["choices"][0]["finish_reason"] in ("stop", "length")
    assert data_of(answered(server, "continue_infill").text)[-1]["stop"] is True
