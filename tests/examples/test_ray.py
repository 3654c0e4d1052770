"""Two replicas on Ray on this machine: conversations stay where they were read, and files are answered."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time

import pytest

from ..glmq.batch_file.files import chat, message, results_of, write
from ..glmq.test_command_line import ENVIRONMENT, ROOT

pytestmark = [pytest.mark.slow]
pytest.importorskip("ray.serve")
pytest.importorskip("ray.data")
httpx = pytest.importorskip("httpx")
openai = pytest.importorskip("openai")

REPLICA = "x-glmq-replica"
FOLDER = ROOT / "examples" / "ray"
CONTEXT = [{"role": "system", "content": "You are helpful. " * 50}]


@pytest.fixture(scope="module")
def url():
    """Of two replicas, by the command that the page shows."""
    environment = ENVIRONMENT | {"RAY_USAGE_STATS_ENABLED": "0"}
    environment["PATH"] = f"{os.path.dirname(sys.executable)}{os.pathsep}{environment['PATH']}"
    command = ["serve", "run", "serve_glmq:app", "model=demo-tools", "replicas=2", "threads=1", "cpus=0.1"]
    process = subprocess.Popen(command, cwd=FOLDER, env=environment, stdout=subprocess.DEVNULL)
    url = "http://127.0.0.1:8000"
    deadline = time.monotonic() + 300
    try:
        while len(replicas(url)) < 2:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(1)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def replicas(url):
    """Those that have answered one of many sessions."""
    found = set()
    with contextlib.suppress(httpx.HTTPError):
        for number in range(10):
            response = httpx.get(f"{url}/health", headers={"x-session-id": f"{number}"}, timeout=30)
            found.add(response.headers.get(REPLICA))
    return found - {None}


def ask(url, messages, **headers):
    body = {"messages": messages, "max_tokens": 6, "temperature": 0}
    response = httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert response.status_code == 200, response.text
    return response.headers[REPLICA], response.json()


def test_a_conversation_stays_on_the_replica_that_has_read_it(url):
    found = set()
    for number in range(12):
        messages = [*CONTEXT, {"role": "user", "content": f"Hello, this is conversation {number}."}]
        replica, answer = ask(url, messages)
        found.add(replica)
        for _ in range(2):
            said = answer["choices"][0]["message"]["content"]
            messages += [{"role": "assistant", "content": said}, {"role": "user", "content": "Go on."}]
            again, answer = ask(url, messages)
            assert again == replica
            usage = answer["usage"]
            assert usage["prompt_tokens_details"]["cached_tokens"] > 0.9 * usage["prompt_tokens"]
    assert found == replicas(url)


def test_a_session_header_decides(url):
    texts = [[{"role": "user", "content": f"Question {i}"}] for i in range(6)]
    assert len({ask(url, messages, **{"x-session-id": "one"})[0] for messages in texts}) == 1


def test_streams_come_as_they_are_generated(url):
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)
    messages = [{"role": "user", "content": "Count to one hundred."}]
    stream = client.chat.completions.create(model="any", messages=messages, stream=True, max_tokens=30)
    times = [time.monotonic() for _ in stream]
    assert len(times) > 10 and times[-1] > times[0]


def test_a_client_that_goes_away_frees_its_slot(url):
    headers = {"x-session-id": "slots"}
    body = {"messages": [{"role": "user", "content": "A story"}], "stream": True, "max_tokens": 1500}
    with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, headers=headers) as response:
        next(response.iter_lines())
    deadline = time.monotonic() + 20
    while any(slot["is_processing"] for slot in httpx.get(f"{url}/slots", headers=headers).json()):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_errors_are_those_of_the_server(url):
    response = httpx.post(f"{url}/v1/chat/completions", content=b"[", headers={"x-session-id": "bad"})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


def test_a_batch_file_over_ray_data(tmp_path):
    lines = [chat(f"r{i}", f"Tell me about {i}.") for i in range(70)]
    asked, out = write(tmp_path / "in.jsonl", [*lines, "nonsense"]), tmp_path / "out.jsonl"
    command = [sys.executable, str(FOLDER / "batch_glmq.py"), str(asked), str(out), "--threads", "1"]
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=300)
    results = results_of(out)
    assert results.keys() == {None, *(f"r{i}" for i in range(70))}
    assert results.pop(None)["error"]["code"] == "invalid_json"
    assert all(message(result) for result in results.values())
    before = out.read_bytes()
    subprocess.run(command, check=True, env=ENVIRONMENT, timeout=300)
    assert out.read_bytes() == before
