"""`glmq serve`: what it refuses, and a whole life of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import httpx
import pytest

from ..test_command_line import run


@pytest.mark.parametrize(
    ("arguments", "told"),
    (
        (("--host", "0.0.0.0"), "give an --api-key, or --no-auth to serve anybody"),
        (("--host", "192.168.0.1"), "can be reached from other machines"),
        (("--api-key", " "), "the API key is empty"),
        (("--port", "70000"), "not in the range"),
        (("--host", "256.1.1.1", "--no-auth"), "cannot listen at 256.1.1.1"),
    ),
)
def test_what_cannot_be_served_is_told_in_one_line(arguments, told):
    code, out, err = run("serve", "demo-tools", *arguments)
    assert code == 2
    assert told in err and "Traceback" not in err
    assert out == ""


def test_a_server_answers_until_it_is_told_to_end():
    command = [sys.executable, "-m", "glmq", "serve", "demo-tools", "--port", "0", "--name", "toy"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    watchdog = threading.Timer(60, server.kill)
    watchdog.start()
    try:
        url = next(
            word for line in server.stderr for word in line.split() if word.startswith("http://")
        ).rstrip(",")
        assert httpx.get(f"{url}/v1/models").json()["data"][0]["id"] == "toy"
        server.send_signal(signal.SIGTERM)
        said = server.stderr.read()
        assert server.wait() == 0
        assert "Traceback" not in said
    finally:
        watchdog.cancel()
        server.kill()
        server.wait()
        server.stderr.close()
