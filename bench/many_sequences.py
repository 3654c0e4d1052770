"""What many sequences in one run cost and gain: rows of docs/numbers.md, as Markdown.

python bench/many_sequences.py [FILE] [--threads 2] [--rounds 3]

The file is one of `bench/synthetic.py`, by default three layers of GLM-4.5-Air's shape as Q4_0, in glmq's
cache folder; the demo model is measured beside it. Some minutes.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from glmq_kernels.jit.cache_folder import cache_folder
from synthetic import write_air

import glmq
from glmq.experts.trace import RoutingTrace
from glmq.model import Model
from glmq.session import Session

STEPS = 24
SIZES = (1, 2, 4, 8)
PREFIX = 2000
LONG_PROMPT = 4000
PROMPT = 512


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    path = args.file or write_air(cache_folder() / "bench" / "air-Q4_0-3.gguf")
    print("| work | result | of n = 1, or bound |\n| --- | --- | --- |")
    with glmq.load(path, n_ctx=8192, n_threads=args.threads) as model:
        read = {n: bytes_of_steps(model, n, 100) for n in SIZES}
    with glmq.load(path, n_ctx=8192, n_threads=args.threads) as model:
        _steps_of_several(model, read, args.rounds)
        _prefix_twice(model, args.rounds)
        _decode_beside_a_prompt(model)
    with glmq.load("demo", n_threads=args.threads) as model:
        _demo_together(model, args.rounds)
    _repeatable_prompts(path, args.threads, args.rounds)
    with glmq.load(path, n_ctx=131072, n_threads=args.threads) as model:
        _memory_of_a_long_context(model)


def tokens_of(model: Model, n: int, seed: int) -> list[int]:
    """Random tokens."""
    found: list[int] = np.random.default_rng(seed).integers(0, model.n_vocab, n).tolist()
    return found


def together(sessions: Sequence[Session], work: Callable[[int, Session], None]) -> float:
    """Seconds that a thread for each session takes from a common start to the last one's end."""
    ready = threading.Barrier(len(sessions) + 1)

    def run(i: int, session: Session) -> None:
        ready.wait()
        work(i, session)

    threads = [threading.Thread(target=run, args=each) for each in enumerate(sessions)]
    for thread in threads:
        thread.start()
    ready.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def decode_seconds(model: Model, n: int, seed: int) -> float:
    """Seconds of a step that `n` sequences decode together."""
    sessions = [model.session() for _ in range(n)]
    drawn = [tokens_of(model, 8 + STEPS, seed + i) for i in range(n)]
    for session, own in zip(sessions, drawn, strict=True):
        session.evaluate(own[:8])

    def decode(i: int, session: Session) -> None:
        for token in drawn[i][8:]:
            session.evaluate([token])

    return together(sessions, decode) / STEPS


def bytes_of_steps(model: Model, n: int, seed: int) -> float:
    """Bytes of weights that a step of `n` sequences reads, from the experts that their tokens choose."""
    trace: RoutingTrace = model.record_routing()
    decode_seconds(model, n, seed)
    recorded = trace.array()[-n * STEPS :]
    chosen = recorded.reshape(STEPS, n, *recorded.shape[1:])
    distinct = np.mean(
        [[len(np.unique(step[:, layer])) for layer in range(chosen.shape[2])] for step in chosen]
    )
    experts = [info for name, info in model.file.tensors.items() if "_exps." in name]
    n_layers, top_k = chosen.shape[2:]
    of_one = sum(info.n_bytes for info in experts) / n_layers / experts[0].shape[0]
    return model.work.weight_bytes + model.work.output_bytes + n_layers * (distinct - top_k) * of_one


def _steps_of_several(model: Model, read: dict[int, float], rounds: int) -> None:
    decode_seconds(model, 1, 0)
    seconds: dict[int, list[float]] = {n: [] for n in SIZES}
    for i in range(rounds):
        for n in SIZES:
            seconds[n].append(decode_seconds(model, n, 100 * i))
    one = statistics.median(seconds[1])
    for n in SIZES:
        median = statistics.median(seconds[n])
        print(
            f"| a step of {n} sequences | {median * 1e3:.1f} ms, {n / median:.1f} tokens/s"
            f" | time {median / one:.2f}x, bytes {read[n] / read[1]:.2f}x, time per byte"
            f" {median / one / (read[n] / read[1]):.2f} |",
            flush=True,
        )


def _demo_together(model: Model, rounds: int) -> None:
    decode_seconds(model, 8, 0)
    ratios = []
    for i in range(rounds):
        one, eight = decode_seconds(model, 1, i), decode_seconds(model, 8, 10 + i)
        ratios.append(8 * one / eight)
    print(
        f"| demo model: 8 sequences decoding together | {8 / eight:.0f} tokens/s |"
        f" {statistics.median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f}) |",
        flush=True,
    )


def _prefix_twice(model: Model, rounds: int) -> None:
    shares = []
    for i in range(rounds):
        prompt = tokens_of(model, PREFIX, 1000 + i)
        seconds = []
        for last in (1, 2):
            session = model.session()
            began = time.perf_counter()
            n_known = session.adopt([*prompt, last])
            session.evaluate([*prompt, last][n_known:])
            seconds.append(time.perf_counter() - began)
        shares.append(seconds[1] / seconds[0])
    print(
        f"| first token after a prefix of {PREFIX} tokens that was read before | {seconds[1] * 1e3:.0f} ms |"
        f" {statistics.median(shares):.1%} of the first time |",
        flush=True,
    )


def _decode_beside_a_prompt(model: Model) -> None:
    alone_prompt, alone = model.session(), tokens_of(model, LONG_PROMPT, 5)
    began = time.perf_counter()
    alone_prompt.evaluate(alone)
    prompt_seconds = time.perf_counter() - began
    step = decode_seconds(model, 1, 3)
    decoding, gaps, done = model.session(), [], threading.Event()
    decoding.evaluate([1])

    def decode() -> None:
        last = time.perf_counter()
        while not done.is_set():
            decoding.evaluate([2])
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=decode)
    thread.start()
    time.sleep(0.5)
    began = time.perf_counter()
    model.session().evaluate(tokens_of(model, LONG_PROMPT, 6))
    beside = time.perf_counter() - began
    done.set()
    thread.join()
    print(
        f"| decode while a prompt of {LONG_PROMPT} is read | longest gap {max(gaps):.2f} s"
        f" (6 steps: {6 * step:.2f} s) | prompt at {prompt_seconds / beside:.2f} of its speed alone |",
        flush=True,
    )


def _repeatable_prompts(path: Path, n_threads: int, rounds: int) -> None:
    models = [glmq.load(path, n_ctx=2048, n_threads=n_threads, deterministic=each) for each in (False, True)]
    ratios = []
    for i in range(rounds + 1):  # the first round warms up
        speeds = []
        for model in models:
            session, tokens = model.session(), tokens_of(model, PROMPT, 50 + i)
            began = time.perf_counter()
            session.evaluate(tokens)
            speeds.append(PROMPT / (time.perf_counter() - began))
        ratios.append(speeds[1] / speeds[0])
    print(
        f"| prompt of {PROMPT} with `deterministic=True` | {speeds[1]:.0f} tokens/s |"
        f" {statistics.median(ratios[1:]):.2f} of {speeds[0]:.0f} without |",
        flush=True,
    )
    for model in models:
        model.close()


def _memory_of_a_long_context(model: Model) -> None:
    session = model.session()
    session.evaluate(tokens_of(model, 1000, 1))
    cache = model.kv_cache
    share = cache.n_bytes / (1000 / cache.page_positions * cache.page_bytes)
    print(
        f"| a session that may grow to {session.n_ctx} tokens and holds 1000 |"
        f" {cache.n_bytes / 1e6:.1f} MB, {cache.n_used} pages | {share:.2f} of the tokens' own |",
        flush=True,
    )


if __name__ == "__main__":
    main()
