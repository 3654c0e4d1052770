"""What the log tells, and what not even an error makes it tell."""

from __future__ import annotations

import json
import logging

import pytest

from glmq.model import Model
from glmq.server.event_stream import EventStream
from glmq.server.log import _Lines, _Objects, fault_text

from .running_server import RunningServer

ASKED = {"messages": [{"role": "user", "content": "a secret word"}], "max_tokens": 3}


@pytest.fixture
def logged(caplog):
    """What all loggers have told, as the command would print it."""
    caplog.set_level("DEBUG")
    return lambda: "\n".join(map(_Lines(whole=False).format, caplog.records))


def failing(*arguments, **named):
    raise ValueError(ASKED["messages"])


def test_errors_while_a_request_is_prepared_are_told_by_kind_and_place(monkeypatch, logged, demo_tools):
    monkeypatch.setattr(Model, "chat", failing)
    with RunningServer(demo_tools) as server:
        for path in ("/v1/chat/completions", "/v1/messages"):
            response = server.http().post(path, json=ASKED)
            assert response.status_code == 500
            assert "secret" not in response.text
    assert "ValueError" in logged() and "test_log.py" in logged()
    assert "secret" not in logged()


def test_so_are_errors_while_an_answer_is_generated(monkeypatch, logged, demo_tools):
    monkeypatch.setattr("glmq.server.answering.ChatAnswer.run", failing)
    with RunningServer(demo_tools) as server:
        assert server.http().post("/v1/chat/completions", json=ASKED).status_code == 500
        stream = server.http().post("/v1/chat/completions", json={**ASKED, "stream": True})
        assert '"code":"internal_error"' in stream.text and stream.text.endswith("data: [DONE]\n\n")
    assert logged().count("builtins.ValueError") == 2
    assert "secret" not in logged()


def test_and_errors_while_it_is_sent(monkeypatch, logged, demo_tools):
    monkeypatch.setattr(EventStream, "__call__", failing)
    with RunningServer(demo_tools) as server:
        response = server.http().post("/v1/chat/completions", json={**ASKED, "stream": True})
        assert response.status_code == 500
        assert response.json()["error"]["code"] == "internal_error"
    assert "ValueError" in logged()
    assert "secret" not in logged()


def test_what_is_asked_and_answered_is_told_where_that_is_wanted(script, logged, demo_tools):
    script.replies = ["</think>an open word"]
    with RunningServer(demo_tools, log_prompts=True) as server:
        server.http().post("/v1/chat/completions", json={**ASKED, "max_tokens": 50})
    assert "a secret word" in logged() and "an open word" in logged()


def test_a_path_cannot_write_lines_of_its_own_into_the_log(server, logged):
    server.http().get("/nothing%0a12:00:00%20forged")
    assert "GET /nothing%0A12" in logged()


def consequence():
    try:
        failing()
    except ValueError as error:
        raise KeyError(ASKED["messages"]) from error


def test_an_error_is_told_with_what_it_came_of():
    with pytest.raises(KeyError) as raised:
        consequence()
    assert "a secret word" in fault_text(raised.value, whole=True)
    told = fault_text(raised.value, whole=False)
    assert told.index("builtins.KeyError") < told.index("builtins.ValueError")
    assert "secret" not in told


def test_records_are_objects_with_their_figures_where_that_is_wanted():
    record = logging.makeLogRecord({"msg": "%(n)d tokens", "args": {"n": 3}, "figures": {"n": 3}})
    told = json.loads(_Objects(whole=False).format(record))
    assert (told["message"], told["n"]) == ("3 tokens", 3)
