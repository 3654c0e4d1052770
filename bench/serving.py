"""What the server costs and gains, beside llama-server: rows of docs/numbers.md, as Markdown.

python bench/serving.py [--threads 2] [--rounds 3] [--alone]

Both serve the demo model, in turn, each in a process of its own, to the same clients on the same machine.
llama-server comes with the wheel `xllamacpp`; without it glmq is measured alone. Some minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import glmq
from glmq.model_file import model_file

N_CLIENTS = 8
N_TOKENS = 64
PREFIX = 2000
N_CTX = 4096
POLL_SECONDS = 0.002
SECONDS = 300.0

LLAMA_SERVER = """
import sys, threading, xllamacpp
parameters = xllamacpp.CommonParams()
parameters.model.path, parameters.port = sys.argv[1], int(sys.argv[2])
parameters.n_parallel, parameters.n_ctx = int(sys.argv[3]), int(sys.argv[4])
parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = int(sys.argv[5])
parameters.endpoint_metrics = True
server = xllamacpp.Server(parameters)
print(server.listening_address, flush=True)
threading.Event().wait()
"""


class Stream:
    """A streamed answer on a connection of its own, read line by line without a library that costs time."""

    def __init__(self, port: int, body: dict[str, Any]) -> None:
        self._connection = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        data = json.dumps({"stream": True, "stream_options": {"include_usage": True}, **body}).encode()
        self.began = time.perf_counter()
        self._connection.sendall(
            b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % len(data) + data
        )
        self._lines = self._connection.makefile("rb")
        status = self._lines.readline()
        if b" 200 " not in status:
            raise RuntimeError(f"{status!r} {self._lines.read(1000)!r}")

    def events(self) -> Iterator[bytes]:
        """The data of events, at the moment they come."""
        for line in self._lines:
            if line.startswith(b"data: [DONE]"):
                return
            if line.startswith(b"data: "):
                yield line[6:]

    def close(self) -> None:
        """Go away."""
        self._lines.close()
        self._connection.close()


def answer(port: int, **body: Any) -> tuple[int, float, float]:
    """Tokens of an answer; when its first and its last came."""
    stream, first, last, n_tokens = Stream(port, body), 0.0, 0.0, 0
    for event in stream.events():
        if b'"text":""' not in event and b'"choices":[]' not in event:
            last = time.perf_counter()
            first = first or last
        if b'"usage":{' in event:
            n_tokens = json.loads(event)["usage"]["completion_tokens"]
    stream.close()
    return n_tokens, first, last


def get(port: int, path: str) -> bytes:
    """The body of a page."""
    with socket.create_connection(("127.0.0.1", port), timeout=SECONDS) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return b"".join(iter(lambda: connection.recv(1 << 16), b"")).partition(b"\r\n\r\n")[2]


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@contextmanager
def serving(engine: str, file: Path, threads: int, *more: str) -> Iterator[int]:
    """The port of a server that runs meanwhile. more: options for glmq's."""
    port = free_port()
    if engine == "glmq":
        options = ["--quiet", "--parallel", N_CLIENTS, "--ctx", N_CTX, "--threads", threads, *more]
        command = ["-m", "glmq", "serve", file, "--port", port, *options]
    else:
        command = ["-c", LLAMA_SERVER, file, port, N_CLIENTS, N_CTX * N_CLIENTS, threads]
    process = subprocess.Popen(
        [sys.executable, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while process.poll() is None:
            try:
                if b"ok" in get(port, "/health"):
                    break
            except OSError:
                pass
            time.sleep(POLL_SECONDS)
        yield port
    finally:
        process.terminate()
        process.wait()


def words(seed: int) -> list[int]:
    """A prompt of a few random tokens."""
    rng = random.Random(seed)
    return [rng.randrange(1000, 40000) for _ in range(8)]


def greedy(prompt: list[int], n: int) -> dict[str, Any]:
    """A request for exactly n likeliest tokens, none of which ends the answer."""
    return {"prompt": prompt, "max_tokens": n, "temperature": 0, "logit_bias": {"0": -100, "2": -100}}


def throughput(port: int, n_clients: int, seed: int) -> float:
    """Tokens per second of all clients together, from the first one's first to the last one's last."""
    found: list[tuple[int, float, float]] = []

    def ask(i: int) -> None:
        found.append(answer(port, **greedy(words(seed + i), N_TOKENS)))

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(n_clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = max(last for _, _, last in found) - min(first for _, first, _ in found)
    return sum(n for n, _, _ in found) / seconds


def first_tokens(port: int, seed: int) -> tuple[float, float]:
    """Seconds to the first token behind a prefix that is new, and behind the same one again."""
    rng = random.Random(seed)
    prefix = [rng.randrange(1000, 40000) for _ in range(PREFIX)]
    seconds = []
    for last in (1001, 1002):
        began = time.perf_counter()
        seconds.append(answer(port, **greedy([*prefix, last], 2))[1] - began)
    return seconds[0], seconds[1]


def seconds_to_free(port: int, seed: int) -> float:
    """Seconds from a client's going away to a server without answers, as a page tells it."""
    stream = Stream(port, greedy(words(seed), 400))
    events = stream.events()
    for _ in range(20):
        next(events)
    stream.close()
    began = time.perf_counter()
    while any(slot["is_processing"] for slot in json.loads(get(port, "/slots"))):
        pass
    return time.perf_counter() - began


def seconds_of_page(port: int) -> float:
    """Seconds that asking for the slots takes."""
    began = time.perf_counter()
    get(port, "/slots")
    return time.perf_counter() - began


def seconds_to_start(engine: str, file: Path, threads: int) -> float:
    """Seconds from the command to the first answered request."""
    began = time.perf_counter()
    with serving(engine, file, threads) as port:
        answer(port, **greedy(words(1), 1))
        return time.perf_counter() - began


def api_seconds(model: glmq.Model, seed: int) -> float:
    """Seconds of a token of the Python API, without the first."""
    sampling = glmq.Sampling(temperature=0, logit_bias={0: -100, 2: -100})
    times = [time.perf_counter() for _ in model.generate(words(seed), sampling=sampling, max_tokens=N_TOKENS)]
    return (times[-1] - times[0]) / (N_TOKENS - 1)


def spread(values: list[float], form: str) -> str:
    """The median, and in which range all are."""
    low, middle, high = (form.format(each) for each in (min(values), statistics.median(values), max(values)))
    return f"{middle} ({low} to {high})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="without llama-server")
    args = parser.parse_args()
    file = model_file("demo")
    engines = ["glmq", *(["llama-server"] if find_spec("xllamacpp") and not args.alone else [])]
    rows: dict[str, dict[str, list[float]]] = {engine: {} for engine in engines}

    def keep(engine: str, row: str, value: float) -> None:
        rows[engine].setdefault(row, []).append(value)
        print(engine, row, f"{value:.4g}", file=sys.stderr, flush=True)

    for i in range(args.rounds):
        for engine in engines:
            keep(engine, "start", seconds_to_start(engine, file, args.threads))
            with serving(engine, file, args.threads) as port:
                throughput(port, 1, 1)
                one, eight = throughput(port, 1, 100 * i), throughput(port, N_CLIENTS, 100 * i + 10)
                keep(engine, "one", one)
                keep(engine, "eight", eight)
                keep(engine, "gain", eight / one)
                new, again = first_tokens(port, i)
                keep(engine, "new", new)
                keep(engine, "again", again / new)
                page = statistics.median(seconds_of_page(port) for _ in range(20))
                keep(engine, "free", (seconds_to_free(port, 500 + i) - page) * one)
    with serving("glmq", file, args.threads) as port, glmq.load("demo", n_threads=args.threads) as model:
        for i in range(3 * args.rounds + 1):
            alone = api_seconds(model, 1000 + i)
            streamed = 1 / throughput(port, 1, 1000 + i) * N_TOKENS / (N_TOKENS - 1)
            if i:  # the first round warms up
                keep("glmq", "overhead", streamed / alone - 1)
    told = (
        ("one", "one client, tokens/s", "{:.0f}"),
        ("eight", f"{N_CLIENTS} clients together, tokens/s", "{:.0f}"),
        ("gain", "in proportion", "{:.2f}"),
        ("new", f"first token behind {PREFIX} new tokens, s", "{:.2f}"),
        ("again", "behind the same again, in proportion", "{:.1%}"),
        ("overhead", "a streamed token beside one of the Python API", "{:+.1%}"),
        ("free", "from a client's going away to a free slot, in steps", "{:.2f}"),
        ("start", "from the command to the first answered request, s", "{:.2f}"),
    )
    print("| work |", " | ".join(engines), "|\n|", " --- |" * (len(engines) + 1))
    for row, name, form in told:
        values = [spread(rows[engine][row], form) if row in rows[engine] else "" for engine in engines]
        print(f"| {name} |", " | ".join(values), "|")


if __name__ == "__main__":
    main()
