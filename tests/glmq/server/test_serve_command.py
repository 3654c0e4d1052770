"""`glmq serve`: what it refuses, and a whole life of it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from glmq.cli.serve import serve
from glmq.errors import GlmqError

from .. import scripted_chat
from ..test_command_line import run
from .running_server import Streams, data_of, has_begun, wait_until


@pytest.mark.parametrize(
    ("arguments", "told"),
    (
        (("--host", "0.0.0.0"), "give an --api-key, or --no-auth to serve anybody"),
        (("--host", "192.168.0.1"), "can be reached from other machines"),
        (("--api-key", " "), "the API key is empty"),
        (("--host", "256.1.1.1", "--no-auth"), "cannot listen at 256.1.1.1"),
        (("--host", "203.0.113.1", "--no-auth"), "this machine does not have that address"),
        (("--host", "", "--api-key", ""), "the API key is empty"),
        (("--api-key", "one\ntwo"), "one line of ASCII characters"),
        (("--api-key", "one", "--api-key-file", "two"), "the API key is given twice"),
        (("--api-key-file", "/nowhere/key"), "cannot read the API key from /nowhere/key"),
        (("--allow-origin", "example.com"), "'example.com' is no origin"),
        (("--unix", "/nowhere/socket"), "cannot listen at /nowhere/socket: No such file"),
    ),
)
def test_what_cannot_be_served_is_told_before_anything_is_loaded(arguments, told):
    with pytest.raises(GlmqError, match=re.escape(told)):
        serve.main(["no model", *arguments], standalone_mode=False)


def test_a_port_that_is_taken_is_told_in_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = run("serve", "demo-tools", "--port", str(taken.getsockname()[1]))
    assert code == 2
    assert "another program has it; choose another port (--port)" in err


@contextmanager
def serving(*arguments, program=("-m", "glmq")):
    """A server in a process of its own, and the line that it begins with."""
    command = [sys.executable, *map(str, program), "serve", "demo-tools", *arguments]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    watchdog = threading.Timer(60, server.kill)
    watchdog.start()
    try:
        yield server, next(line for line in server.stderr if "http" in line)
    finally:
        watchdog.cancel()
        server.kill()
        server.wait()
        server.stderr.close()


def url_in(line):
    return re.search(r"http://\S+:\d+", line)[0]


def test_a_server_answers_as_it_was_told_to_until_its_end(tmp_path):
    key = tmp_path / "key"
    key.write_text("a secret\n")
    options = ("--port", "0", "--alias", "toy", "--api-key-file", str(key), "--log-format", "json")
    with serving(*options, "--max-tokens", "3", "--temp", "0", "--ctx", "500") as (server, line):
        url = url_in(line)
        assert "toy" in line and "500 tokens of context" in line
        assert httpx.get(f"{url}/v1/models").status_code == 401
        with httpx.Client(base_url=url, headers={"x-api-key": "a secret"}) as client:
            assert client.get("/v1/models").json()["data"][0]["id"] == "toy"
            body = {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 99}
            usage = client.post("/v1/chat/completions", json=body).json()["usage"]
            assert client.get("/props").json()["default_generation_settings"]["params"]["temperature"] == 0
        assert usage["completion_tokens"] == 3
        server.send_signal(signal.SIGTERM)
        logged = server.stderr.read()
        assert server.wait() == 0
    records = [json.loads(line) for line in logged.splitlines()]
    answered = next(record for record in records if "completion_tokens" in record)
    assert answered["completion_tokens"] == 3
    assert any(record.get("path") == "/v1/models" and record["status"] == 401 for record in records)
    assert "a secret" not in logged and "Hello" not in logged


def test_a_server_listens_at_a_socket_file_that_goes_with_it(tmp_path):
    path = tmp_path / "socket"
    socket.socket(socket.AF_UNIX).bind(str(path))  # left behind by one that was killed
    with serving("--unix", str(path), "--quiet") as (server, line):
        assert str(path) in line
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path))) as client:
            assert client.get("http://localhost/health").json() == {"status": "ok"}
        server.send_signal(signal.SIGINT)
        assert server.stderr.read() == ""
        assert server.wait() == 0
    assert not path.exists()


QUESTION = {"messages": [{"role": "user", "content": "Hello"}], "stream": True}
STREAMS = (
    ("/v1/chat/completions", QUESTION),
    ("/v1/completions", {"prompt": "Hello", "stream": True, "max_tokens": 2000}),
    ("/v1/messages", {**QUESTION, "max_tokens": 2000}),
    ("/v1/responses", {"input": "Hello", "stream": True}),
)


@pytest.mark.parametrize(
    ("signals", "grace"),
    (((signal.SIGTERM,), "0.1"), ((signal.SIGINT, signal.SIGINT), "600")),
    ids=("SIGTERM", "Ctrl-C twice"),
)
def test_a_signal_in_the_middle_of_streams_lets_each_end_with_a_proper_event(tmp_path, signals, grace):
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"replies": ["</think>" + "word " * 2000] * 8, "seconds": 0.02}))
    options = ("--port", "0", "--grace", grace, "--quiet")
    with serving(*options, program=(scripted_chat.__file__, script)) as (server, line):
        streams = Streams(url_in(line), STREAMS * 2)
        wait_until(lambda: all(map(has_begun, streams.texts)))
        for each in signals:
            server.send_signal(each)
            time.sleep(0.2)  # the same signal twice at once is one signal
        texts = streams.join()
        assert server.stderr.read() == ""
        assert server.wait() == 0
    for (path, _), text in zip(STREAMS * 2, texts, strict=True):
        last = data_of(text)[-1]
        if path in ("/v1/chat/completions", "/v1/completions"):
            assert last["error"]["code"] == "shutting_down"
            assert text.endswith("data: [DONE]\n\n")
        elif path == "/v1/messages":
            assert (last["type"], last["error"]["type"]) == ("error", "overloaded_error")
        else:
            assert last["type"] == "response.failed"
            assert last["response"]["error"]["message"] == "the server is shutting down"
