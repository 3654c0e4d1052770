"""Requests that are wrong in every way: each is told what is wrong with it, in the API's shape."""

from __future__ import annotations

import pytest

from glmq.constraint import tool_calls

from .good_requests import BODIES
from .refusals import check

MESSAGES = [{"role": "user", "content": "Hi"}]


@pytest.mark.parametrize("path", BODIES)
def test_the_requests_that_others_are_made_from_are_right(server, path):
    response = server.http().post(path, json=BODIES[path])
    assert response.status_code == 200, response.text


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
        ("/v1/chat/completions", {"messages": [{"role": "alien", "content": "x"}]}, "messages.0.role"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        ("/v1/chat/completions", {"response_format": {"type": "json_schema"}}, "response_format.schema"),
        ("/v1/chat/completions", {"tools": [{"type": "function"}] * 2000}, "tools"),
        ("/v1/completions", {"best_of": 1, "n": 2}, "best_of"),
        ("/v1/completions", {"best_of": 2, "n": 1, "stream": True}, "best_of"),
        ("/v1/completions", {"prompt": []}, "prompt"),
        ("/v1/completions", {"prompt": [10**9]}, "prompt"),
        ("/v1/responses", {"input": []}, "input"),
        ("/v1/responses", {"reasoning": {"effort": 1}}, "reasoning.effort"),
        (
            "/v1/responses",
            {"input": [{"role": "user", "content": [{"type": "input_image"}]}]},
            "input.0.content.0.type",
        ),
        ("/v1/responses", {"conversation": "c"}, "conversation"),
    ),
)
def test_the_field_that_is_wrong_is_named(server, path, changes, param):
    response = server.http().post(path, json={**BODIES[path], **changes})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_schemas_that_take_too_long_all_together_are_refused(server, monkeypatch):
    monkeypatch.setattr(tool_calls, "SECONDS", 0.0)
    properties = {f"p{i}": {"type": "string", "minLength": i} for i in range(50)}
    function = {"name": "f", "parameters": {"type": "object", "properties": properties}}
    body = {"messages": MESSAGES, "tools": [{"type": "function", "function": function}]}
    response = server.http().post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    assert "takes too long to prepare" in response.json()["error"]["message"]


def test_other_paths_and_methods_are_refused_in_the_apis_shape(server):
    http = server.http()
    for path, method, status in (
        ("/v1/nothing", "GET", 404),
        ("/v1/chat/completions", "GET", 405),
        ("/v1/messages", "DELETE", 405),
        ("/api/pull", "POST", 501),
        ("/api/nothing", "POST", 404),
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
