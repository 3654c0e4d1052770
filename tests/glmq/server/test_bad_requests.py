"""Requests that are wrong in every way: each is told what is wrong with it, in the API's shape."""

from __future__ import annotations

import copy
import json

import pytest

MESSAGES = [{"role": "user", "content": "Hi"}]
FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
SCHEMA = {"name": "s", "schema": {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}}}

BODIES = {
    "/v1/chat/completions": {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "t"}]},
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ],
        "max_tokens": 1,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 5,
        "min_p": 0.1,
        "seed": 1,
        "n": 1,
        "stop": ["x"],
        "stream": False,
        "stream_options": {"include_usage": True},
        "logprobs": True,
        "top_logprobs": 1,
        "logit_bias": {"5": 1},
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "tools": [{"type": "function", "function": FUNCTION}],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "thinking": {"type": "disabled"},
        "thinking_budget_tokens": 1,
        "chat_template_kwargs": {"enable_thinking": False},
        "continue_final_message": False,
    },
    "/v1/completions": {
        "model": "m",
        "prompt": "p",
        "max_tokens": 1,
        "echo": True,
        "logprobs": 1,
        "n": 1,
        "stop": "x",
        "stream": False,
        "response_format": {"type": "json_schema", "json_schema": SCHEMA},
    },
    "/v1/responses": {
        "model": "m",
        "instructions": "i",
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "t"}]},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "t"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "r"},
        ],
        "tools": [{"type": "function", **FUNCTION}, {"type": "namespace", "name": "n", "tools": []}],
        "tool_choice": {"type": "function", "name": "f"},
        "max_output_tokens": 1,
        "reasoning": {"effort": "none"},
        "text": {"format": {"type": "text"}},
        "store": False,
        "metadata": {},
        "parallel_tool_calls": True,
    },
    "/v1/messages": {
        "model": "m",
        "max_tokens": 1,
        "system": [{"type": "text", "text": "s"}],
        "messages": [
            {"role": "user", "content": "Hi"},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "t", "signature": ""},
                    {"type": "tool_use", "id": "c", "name": "f", "input": {}},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": "r"}]},
        ],
        "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "auto"},
        "stop_sequences": ["x"],
        "temperature": 0.5,
        "thinking": {"type": "enabled", "budget_tokens": 1},
        "output_config": {"effort": "low"},
    },
    "/tokenize": {"content": "c", "add_special": True, "parse_special": True, "with_pieces": False},
    "/detokenize": {"tokens": [1, 2]},
    "/apply-template": {"messages": MESSAGES},
    "/infill": {"input_prefix": "a", "input_suffix": "b", "n_predict": 1, "input_extra": [{"text": "t"}]},
    "/api/chat": {
        "model": "m",
        "messages": MESSAGES,
        "stream": False,
        "think": False,
        "options": {"num_predict": 1, "temperature": 0.1, "stop": ["x"]},
        "format": {"type": "object", "properties": {"a": {"type": "string", "maxLength": 3}}},
    },
}
"""For each path a request that is right."""

WRONG = (
    None, True, -1, 0, 10**30, -(10**30), 1.5, 1e308, "", "x", "\ud800", "é" * 300, [], [None], [[]],
    ["x", 1], {}, {"x": 1}, {"type": "x"}, [{}], [{"type": "x"}], {"role": "x"},
)  # fmt: skip
"""What is put in the place of each value in turn."""


def places(value, path=()):
    """Paths to all values in a body."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(body, path, value):
    """A copy of a body with another value at a place."""
    copied = copy.deepcopy(body)
    holder = copied
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return copied


def check(path, response, sent):
    """Whatever was sent is answered, or refused in the shape of the path's API."""
    assert response.status_code in (200, 400, 501), (response.status_code, response.text, sent)
    if response.status_code == 200:
        return False
    error = response.json()["error"]
    message = error if path.startswith("/api/") else error["message"]
    assert message and "\n" not in message and "Traceback" not in message
    if path.startswith("/v1/messages"):
        assert response.json()["type"] == "error" and error["type"].endswith("_error")
    elif not path.startswith("/api/"):
        assert set(error) >= {"message", "type", "param", "code"}
    return True


@pytest.mark.parametrize("path", BODIES)
def test_the_requests_that_others_are_made_from_are_right(server, path):
    response = server.http().post(path, json=BODIES[path])
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("path", BODIES)
def test_a_wrong_value_anywhere_is_refused_or_does_no_harm(server, script, path):
    http, n_refused, n_sent = server.http(), 0, 0
    for place in places(BODIES[path]):
        for value in WRONG:
            sent = changed(BODIES[path], place, value)
            response = http.post(path, content=json.dumps(sent))
            n_refused += check(path, response, sent)
            n_sent += 1
    assert n_sent > 40
    assert n_refused > n_sent / 4


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "body",
    (
        b"", b" ", b"{", b"[]", b"null", b"1", b'"x"', b"\xff\xfe{}", b'{"a": NaN}', b'{"a": Infinity}',
        b"{}}", b'{"model": "\xff"}', b"[" * 100_000, b'{"a":' * 300 + b"1" + b"}" * 300, b"1" * 5000,
        b"{'a': 1}",
    ),
)  # fmt: skip
def test_what_is_no_object_of_json_is_refused(server, path, body):
    response = server.http().post(path, content=body)
    assert check(path, response, body)


@pytest.mark.parametrize("path", BODIES)
def test_a_body_that_is_too_large_is_refused_before_it_is_read(demo_tools, path):
    from .running_server import RunningServer

    with RunningServer(demo_tools, max_body=1000) as running:
        http = running.http()
        assert http.post(path, content=b" " * 2000).status_code == 413
        assert http.post(path, content=iter([b" " * 600] * 3)).status_code == 413


@pytest.mark.parametrize(
    ("path", "changes", "param"),
    (
        ("/v1/chat/completions", {"messages": []}, "messages"),
        ("/v1/chat/completions", {"messages": "Hi"}, "messages"),
        ("/v1/chat/completions", {"temperature": "hot"}, "temperature"),
        ("/v1/chat/completions", {"n": 1000}, "n"),
        ("/v1/chat/completions", {"top_logprobs": 21}, "top_logprobs"),
        ("/v1/chat/completions", {"stop": ["x"] * 100}, "stop"),
        ("/v1/chat/completions", {"max_tokens": 0}, "max_tokens"),
        ("/v1/chat/completions", {"tool_choice": "perhaps"}, "tool_choice"),
        ("/v1/chat/completions", {"logit_bias": {"999999999": 1}}, "logit_bias"),
        ("/v1/chat/completions", {"reasoning_effort": "huge"}, "reasoning_effort"),
        ("/v1/completions", {"prompt": []}, "prompt"),
        ("/v1/completions", {"prompt": [10**9]}, "prompt"),
        ("/v1/responses", {"input": []}, "input"),
        ("/v1/responses", {"reasoning": {"effort": 1}}, "reasoning.effort"),
    ),
)
def test_the_field_that_is_wrong_is_named(server, path, changes, param):
    response = server.http().post(path, json={**BODIES[path], **changes})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_other_paths_and_methods_are_refused_in_the_apis_shape(server):
    http = server.http()
    for path, method, status in (
        ("/v1/nothing", "GET", 404),
        ("/v1/chat/completions", "GET", 405),
        ("/v1/messages", "DELETE", 405),
        ("/api/pull", "POST", 404),
        ("/v1/../etc/passwd", "GET", 404),
    ):
        response = http.request(method, path)
        assert response.status_code == status
        assert response.json()["error"]


def test_a_grammar_that_takes_too_long_is_refused_and_others_are_answered_meanwhile(server):
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": "(a|b)*" * 2000}}}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    body = {"messages": MESSAGES, "response_format": form, "max_tokens": 1}
    assert server.http().post("/v1/chat/completions", json=body).status_code in (200, 400)
    assert server.http().get("/health").status_code == 200
