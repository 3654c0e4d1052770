"""Time a conversation that was sent to the disk and comes back, beside another answer and alone.

python bench/pages_on_disk.py [--tokens 100000] [--layers 3] [--rounds 3] [--folder DIR]

A model of GLM-4.5-Air's shape, Q4_0, with random weights. The pages of two conversations are filled, not
evaluated, and the pool has room for one of them and a short answer. They are asked for in turn, so that each
time one of them comes back while the other, which is on the disk by then, lets go of the memory. What
evaluating costs is told by a prompt of 512 tokens: a longer one is read no faster.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from glmq_kernels.jit.cache_folder import cache_folder
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE
from synthetic import write_air

import glmq
from glmq.forecast.disk_speed import folder_speed
from glmq.kv_cache.sequence import Sequence

N_READ = 512
SPARE_PAGES = 6
"""Of the pool, for the answer beside."""


def fill(model: glmq.Model, tokens: list[int]) -> None:
    """Leave pages of a conversation in the prefix tree, with random contents."""
    sequence, rng = Sequence(model._engine.prefix_tree), np.random.default_rng(0)
    sequence.wait_for_room(len(tokens))
    sequence.reserve(len(tokens))
    for page in sequence.pages:
        page.bytes.view(np.float16)[:] = rng.standard_normal(len(page.bytes) // 2, np.float32)
    sequence.extend(tokens)
    sequence.release()


def wait_until_written(model: glmq.Model) -> None:
    """Wait until the other conversation can leave memory at once."""
    pool = model._engine.prefix_tree.pool
    while pool.n_idle > pool.n_idle_written:
        time.sleep(0.01)


def come_back(model: glmq.Model, tokens: list[int]) -> float:
    """Seconds in which a conversation is in memory again."""
    wait_until_written(model)
    sequence = Sequence(model._engine.prefix_tree)
    before, began = model.kv_cache.n_returned, time.perf_counter()
    assert sequence.adopt(tokens) == len(tokens)
    seconds = time.perf_counter() - began
    assert model.kv_cache.n_returned - before > 0.9 * len(tokens) / POSITIONS_PER_PAGE
    sequence.release()
    return seconds


class Answering:
    """An answer beside: the times of its steps, until it is stopped."""

    def __init__(self, model: glmq.Model) -> None:
        self.seconds: list[float] = []
        self._session = model.session()
        self._session.evaluate([1, 2, 3])
        self._stops = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Answering:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stops.set()
        self._thread.join()
        self._session.sequence.release(publish=False)

    def _run(self) -> None:
        while not self._stops.is_set() and len(self._session.tokens) < 2 * POSITIONS_PER_PAGE:
            began = time.perf_counter()
            self._session.evaluate([5])
            self.seconds.append(time.perf_counter() - began)


def steps(name: str, seconds: list[float]) -> None:
    """Print how long steps took."""
    usual, longest = statistics.median(seconds), max(seconds)
    print(f"steps {name:24} {len(seconds):4}, median {1e3 * usual:.1f} ms, longest {1e3 * longest:.1f} ms")


def measure(model: glmq.Model, conversations: list[list[int]], n_rounds: int, folder: Path) -> None:
    """Measure and print."""
    n_bytes = model.kv_cache.page_bytes * -(-len(conversations[0]) // POSITIONS_PER_PAGE)
    print(f"{len(conversations[0])} tokens, {n_bytes / 1e9:.2f} GB")
    for tokens in conversations:
        fill(model, tokens)
    for turn in range(n_rounds):
        disk = folder_speed(folder).bandwidth
        alone = come_back(model, conversations[0])
        with Answering(model) as undisturbed:
            undisturbed._thread.join(2.0)
        wait_until_written(model)
        with Answering(model) as answering:
            beside = come_back(model, conversations[1])
        print(
            f"round {turn + 1}: comes back in {alone:.2f} s, {n_bytes / alone / 1e9:.2f} GB/s, the disk"
            f" {disk / 1e9:.2f}; beside an answer in {beside:.2f} s"
        )
        steps("alone", undisturbed.seconds)
        steps("beside the return", answering.seconds)
    session, tokens = model.session(), list(range(100, 100 + N_READ))
    session.evaluate(tokens[:64])
    session.rewind(0)
    began = time.perf_counter()
    session.evaluate(tokens)
    per_token = (time.perf_counter() - began) / N_READ
    print(
        f"evaluating {N_READ} tokens: {1 / per_token:.0f} tokens/s; the conversation would take"
        f" {per_token * len(conversations[0]):.0f} s or more"
    )
    print(model.kv_cache.line())


def main() -> None:
    """Load, fill, measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, help="on the disk that is measured [default: the cache folder]"
    )
    args = parser.parse_args()
    path = write_air(cache_folder() / "bench" / f"air-Q4_0-{args.layers}.gguf", "Q4_0", args.layers)
    with tempfile.TemporaryDirectory(dir=args.folder or cache_folder()) as folder:
        n_ctx = args.tokens + N_READ
        with glmq.load(path, n_ctx=n_ctx, cache_disk="8GB", cache_folder=folder, draft="off") as model:
            pool = model._engine.prefix_tree.pool
            pool.max_pages = -(-args.tokens // POSITIONS_PER_PAGE) + SPARE_PAGES
            conversations = [[seed, *(i * i % 30_000 for i in range(args.tokens - 1))] for seed in (1, 2)]
            measure(model, conversations, args.rounds, Path(folder))


if __name__ == "__main__":
    main()
