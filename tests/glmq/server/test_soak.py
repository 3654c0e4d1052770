"""Many clients of all protocols at once, some of which go away: nothing stays behind, and answers repeat."""

from __future__ import annotations

import gc
import json
import os
import random
import threading
from queue import Empty, SimpleQueue

import httpx
import pytest

import glmq
from glmq.session import Session
from glmq.system_memory import resident_memory

from .running_server import RunningServer, wait_until

SLACK = 5
"""Of a count: far less than one for each request that was left."""
N_CLIENTS = 16
N_TOKENS = 16
QUESTIONS = (
    "What is the capital of France?",
    "How is the weather in Oslo?",
    "Say hello.",
    "What is 2 and 3? " * 12,
)
PASSING = {
    "id", "created", "created_at", "completed_at", "item_id", "call_id", "tool_call_id", "timings", "usage",
    "total_duration", "load_duration", "prompt_eval_count", "prompt_eval_duration", "eval_duration",
}  # fmt: skip
"""Fields that differ between equal answers: names, times, and what was found in the cache."""


@pytest.fixture(scope="module")
def repeatable():
    with glmq.load("demo-tools", deterministic=True) as model:
        yield model


def requests_of(question, tools):
    """A greedy request of every kind, as path and body."""
    messages = [{"role": "user", "content": question}]
    greedy = {"temperature": 0, "max_tokens": N_TOKENS}
    flat = [{"type": "function", **tool["function"]} for tool in tools]
    own = [{"name": each["name"], "input_schema": each["parameters"]} for each in flat]
    for stream in (True, False):
        common = {**greedy, "stream": stream}
        yield "/v1/chat/completions", {**common, "messages": messages, "tools": tools}
        yield "/v1/chat/completions", {**greedy, "messages": messages, "n": 2, "stream": False}
        yield "/v1/completions", {**common, "prompt": question, "logprobs": 1}
        yield "/v1/messages", {**common, "messages": messages, "tools": own}
        responses = {"input": question, "tools": flat, "temperature": 0, "max_output_tokens": N_TOKENS}
        yield "/v1/responses", {**responses, "stream": stream}
        options = {"temperature": 0, "num_predict": N_TOKENS}
        yield "/api/chat", {"model": "any", "messages": messages, "stream": stream, "options": options}


def what_is_told(text):
    """An answer without what differs between equal ones."""
    lines = [line.removeprefix("data: ") for line in text.splitlines()]
    return [
        without_passing(json.loads(line)) for line in lines if line.startswith("{") and "ping" not in line
    ]


def without_passing(value):
    if isinstance(value, dict):
        return {name: without_passing(each) for name, each in value.items() if name not in PASSING}
    return [without_passing(each) for each in value] if isinstance(value, list) else value


def ask(client, path, body):
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return what_is_told(response.text)


def go_away(server, path, body, rng):
    """Ask, and close the connection after some of the answer or before any of it."""
    with httpx.Client(base_url=server.url) as client:
        if body["stream"]:
            with client.stream("POST", path, json=body) as response:
                for _, _ in zip(range(rng.randrange(8)), response.iter_raw(), strict=False):
                    pass
        else:
            with pytest.raises(httpx.ReadTimeout):
                client.post(path, json=body | LONG, timeout=rng.uniform(0.01, 0.1))


LONG = {"max_tokens": 1500, "max_output_tokens": 1500, "options": {"num_predict": 1500}}


class Soak:
    """Clients in threads that ask all that is in a queue. wrong: answers that are not as they are alone."""

    def __init__(self, server, work, expected):
        self._server, self._expected = server, expected
        self._work = SimpleQueue()
        for i, each in enumerate(work):
            self._work.put((i, *each))
        self.wrong, self.n_answered, self.n_left = [], 0, 0
        self._lock = threading.Lock()

    def run(self):
        threads = [threading.Thread(target=self._ask_all) for _ in range(N_CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask_all(self):
        with httpx.Client(base_url=self._server.url, timeout=300) as client:
            while True:
                try:
                    i, path, body = self._work.get_nowait()
                except Empty:
                    return
                try:
                    self._ask(client, random.Random(i), path, body)
                except Exception as error:
                    self.wrong.append((path, body, repr(error)))

    def _ask(self, client, rng, path, body):
        if rng.random() < 0.3:
            go_away(self._server, path, body, rng)
            with self._lock:
                self.n_left += 1
            return
        told = ask(client, path, body)
        with self._lock:
            self.n_answered += 1
        if told != self._expected[json.dumps([path, body])]:
            self.wrong.append((path, body, told))


def held(model, server):
    """What requests hold while they run, and nothing afterwards."""
    return {
        "pages": model.kv_cache.n_used,
        "slots": server.service.admission.n_busy,
        "queue": server.service.admission.n_waiting,
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
    }


def more_than(before, now):
    """What there is more of than threads that begin late, and ends of answers that are kept, explain."""
    return {name: now[name] for name in before if now[name] > before[name] + SLACK}


def n_sessions():
    gc.collect()
    return sum(isinstance(each, Session) for each in gc.get_objects())


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files as Linux tells them")
@pytest.mark.parametrize("n_requests", (40, pytest.param(500, marks=pytest.mark.slow)))
def test_nothing_is_left_of_requests_and_greedy_answers_are_as_they_are_alone(repeatable, tools, n_requests):
    questions = QUESTIONS if n_requests > 100 else QUESTIONS[:2]
    kinds = [each for question in questions for each in requests_of(question, tools)]
    work = random.Random(n_requests).choices(kinds, k=n_requests)
    of_others = n_sessions()
    with RunningServer(repeatable, n_parallel=6, n_queue=100) as server:
        with httpx.Client(base_url=server.url, timeout=300) as client:
            expected = {json.dumps(each): ask(client, *each) for each in map(list, work)}
        Soak(server, work[: max(N_CLIENTS, n_requests // 2)], expected).run()  # all that is kept is there now
        wait_until(lambda: not held(repeatable, server)["slots"])
        before, memory = held(repeatable, server), resident_memory()
        soak = Soak(server, work, expected)
        soak.run()
        assert soak.wrong == []
        assert soak.n_answered + soak.n_left == n_requests
        wait_until(lambda: not more_than(before, held(repeatable, server)))
        assert n_sessions() <= of_others
        grown = resident_memory() - memory
        print(f"{soak.n_answered} answered, {soak.n_left} left; {before}; {grown >> 20} MiB more than before")
        assert before["pages"] == before["slots"] == before["queue"] == 0
    if n_requests >= 500:
        assert grown < 32 << 20
