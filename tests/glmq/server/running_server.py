"""A server in a thread, and the clients that talk to it."""

from __future__ import annotations

import json
import threading
import time

import anthropic
import httpx
import openai

from glmq.server.listening import base_url, listening_socket
from glmq.server.running import ModelServer
from glmq.server.settings import ServerSettings

SECONDS = 60
"""No test waits longer for an answer."""


class RunningServer:
    """Serves a model on a free port while it is entered."""

    def __init__(self, model, **settings):
        settings = ServerSettings(port=0, **settings)
        self._listening = listening_socket(settings)
        socket = self._listening.__enter__()
        self.url = base_url(socket)
        self.host, self.port = socket.getsockname()
        self._server = ModelServer(model, settings)
        self.service = self._server.service
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [socket]})
        self._clients = []

    def __enter__(self):
        self._thread.start()
        wait_until(lambda: self._server.started)
        return self

    def __exit__(self, *error):
        for client in self._clients:
            client.close()
        self.stop()
        self._listening.__exit__(None, None, None)

    def stop(self):
        self._server.stop()
        self._thread.join(SECONDS)
        assert not self._thread.is_alive()

    def begin_to_stop(self):
        self._server.stop()

    def openai(self, key="any"):
        return self._kept(
            openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0, timeout=SECONDS)
        )

    def anthropic(self, key="any"):
        return self._kept(anthropic.Anthropic(base_url=self.url, api_key=key, max_retries=0, timeout=SECONDS))

    def http(self, **headers):
        return self._kept(httpx.Client(base_url=self.url, headers=headers, timeout=SECONDS))

    def _kept(self, client):
        self._clients.append(client)
        return client


def wait_until(holds):
    """Wait until something holds, which it must before long."""
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.005)


def data_of(text):
    """The JSON of a stream's events, without comments and the end mark."""
    lines = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


class Streams:
    """Requests in threads of their own, and what came of each."""

    def __init__(self, url, bodies):
        self.texts = [""] * len(bodies)
        self._threads = [
            threading.Thread(target=self._read, args=(i, url, path, body))
            for i, (path, body) in enumerate(bodies)
        ]
        for thread in self._threads:
            thread.start()

    def join(self):
        for thread in self._threads:
            thread.join(60)
        return self.texts

    def _read(self, i, url, path, body):
        with httpx.stream("POST", url + path, json=body, timeout=60) as response:
            for text in response.iter_text():
                self.texts[i] += text


def has_begun(text):
    """Whether a stream has told a good deal of its answer."""
    return text.count("data: ") > 12
