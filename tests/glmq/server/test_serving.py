"""Waiting, going away and ending: what becomes of answers that are under way."""

from __future__ import annotations

import json
import socket

import httpx
import pytest

from .running_server import RunningServer, Streams, data_of, has_begun, wait_until

QUESTION = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}


@pytest.fixture
def slow(script):
    """Answers that take longer than any test."""
    script.replies = ["</think>" + "word " * 2000] * 20
    script.seconds = 0.02
    return script


def content_of(text):
    """The content of a chat completion's stream."""
    choices = [chunk["choices"][0] for chunk in data_of(text)]
    return "".join(choice["delta"].get("content", "") for choice in choices)


def test_answers_beyond_the_queue_are_told_to_come_back_later(slow, glm_4_7):
    with RunningServer(glm_4_7, n_parallel=1, n_queue=1, grace_seconds=0) as server:
        streams = Streams(server.url, [("/v1/chat/completions", QUESTION)] * 2)
        wait_until(lambda: server.service.admission.n_waiting == 1)
        for path, body in (
            ("/v1/chat/completions", QUESTION),
            ("/v1/messages", {**QUESTION, "max_tokens": 5}),
            ("/v1/responses", {"input": "Hello"}),
        ):
            response = server.http().post(path, json=body)
            assert response.status_code == 429
            assert int(response.headers["retry-after"]) > 0
        counted = server.http().post("/v1/messages/count_tokens", json=QUESTION)
        assert counted.json()["input_tokens"] > 0  # that waits for nobody
        server.stop()
        streams.join()


def test_a_waiting_answer_shows_life_at_once_and_comes_in_its_turn(slow, glm_4_7):
    slow.replies = ["</think>" + "word " * 20, "</think>second"]
    with RunningServer(glm_4_7, n_parallel=1, ping_seconds=0.05) as server:
        streams = Streams(server.url, [("/v1/chat/completions", QUESTION)])
        wait_until(lambda: server.service.admission.n_busy == 1)
        with server.http().stream("POST", "/v1/chat/completions", json=QUESTION) as response:
            assert response.status_code == 200
            text = "".join(response.iter_text())
        assert text.startswith('data: {"id"')
        assert ":\n\n" in text
        assert content_of(text) == "second"
        streams.join()


@pytest.mark.parametrize("stream", (True, False))
def test_a_client_that_goes_away_frees_its_slot(slow, glm_4_7, stream):
    with RunningServer(glm_4_7, n_parallel=1) as server:
        body = {**QUESTION, "stream": stream}
        client = httpx.Client(base_url=server.url)
        if stream:
            with client.stream("POST", "/v1/chat/completions", json=body) as response:
                lines = response.iter_lines()
                next(lines)
                wait_until(lambda: server.service.admission.n_busy == 1)
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post("/v1/chat/completions", json=body, timeout=1)
        client.close()
        wait_until(lambda: server.service.admission.n_busy == 0)
        wait_until(lambda: server.service.metrics.n_answers == 1)
        assert server.service.metrics.n_predicted < 1000  # of 2000 in the whole answer
        slow.replies, slow.seconds = ["</think>next"], 0.0
        answer = server.http().post("/v1/chat/completions", json={**QUESTION, "stream": False})
        assert answer.json()["choices"][0]["message"]["content"] == "next"


@pytest.mark.parametrize("stream", (True, False))
def test_a_client_that_goes_away_while_it_waits_leaves_the_queue(slow, glm_4_7, stream):
    with RunningServer(glm_4_7, n_parallel=1, grace_seconds=0) as server:
        streams = Streams(server.url, [("/v1/chat/completions", QUESTION)])
        wait_until(lambda: server.service.admission.n_busy == 1)
        body = json.dumps({**QUESTION, "stream": stream}).encode()
        with socket.create_connection((server.host, server.port)) as client:
            client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n")
            client.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            wait_until(lambda: server.service.admission.n_waiting == 1)
        wait_until(lambda: server.service.admission.n_waiting == 0)
        assert server.service.admission.n_busy == 1
        server.stop()
        streams.join()


def test_answers_that_are_nearly_done_come_to_their_end_when_the_server_ends(slow, glm_4_7):
    slow.replies = ["</think>" + "word " * 10 + "end"]
    with RunningServer(glm_4_7, grace_seconds=30) as server:
        streams = Streams(server.url, [("/v1/chat/completions", QUESTION)])
        wait_until(lambda: has_begun(streams.texts[0]))
        server.stop()
    assert '"finish_reason":"stop"' in streams.join()[0]


def test_answers_run_at_the_same_time(slow, glm_4_7):
    with RunningServer(glm_4_7, n_parallel=3, grace_seconds=0) as server:
        streams = Streams(server.url, [("/v1/chat/completions", QUESTION)] * 3)
        wait_until(lambda: all(map(has_begun, streams.texts)))
        assert all("[DONE]" not in text for text in streams.texts)
        server.stop()
        streams.join()


def test_the_log_holds_no_word_of_what_is_asked_or_answered(caplog, demo_tools):
    caplog.set_level("DEBUG", logger="glmq.server")
    body = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
    with RunningServer(demo_tools) as server:
        server.http().post("/v1/chat/completions", json=body)
        server.http().post("/v1/chat/completions", json={"messages": "capital"})
    assert "POST /v1/chat/completions 200" in caplog.text
    assert "POST /v1/chat/completions 400" in caplog.text
    for word in ("capital", "France", "Paris"):
        assert word not in caplog.text
