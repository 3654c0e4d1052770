"""GLM-4.7-Flash's shape beside llama.cpp, for docs/numbers.md: speeds at any depth, and larger than memory.

python bench/flash.py [--pairs 5] [--threads 2] [--folder FOLDER] [near] [far] [whole]

near    prompt of 512 and decode without anything before, of Q4_0, Q4_K_M and Q8_0 files of four layers
far     decode and prompt behind 16,384 and 32,768 tokens, Q4_0
whole   47 layers and the whole vocabulary as Q4_K_M (18 GB) where 8 GB of memory are allowed (needs root)

llama.cpp is that of the wheel `xllamacpp`: as pip installs it, for AVX2. Both engines are loaded in one
process and run in turn. What lies before is not evaluated: in glmq it is one page's rows again and again, in
llama.cpp short sequences that are joined. The folder's disk needs room for 25 GB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from control_group import run_limited
from glmq_kernels.jit.cache_folder import cache_folder
from glmq_kernels.ops.attention.cache_layout import POSITIONS_PER_PAGE
from glmq_kernels.ops.machine_peak.operation import read_bandwidth
from glmq_kernels.threads.thread_pool import ThreadPool
from llama_cpp_library import LlamaCpp
from synthetic import write_flash

import glmq

HERE = Path(__file__).parent
TYPES = ("Q4_0", "Q4_K_M", "Q8_0")
PROMPT, DECODE = 512, 32
DEPTHS = (16_384, 32_768)
REST_SECONDS = 0.3
"""Between two engines' runs, for threads that still spin."""
LIMIT = 8_000_000_000
MEASURED_BYTES = 1_000_000_000


@dataclass(frozen=True)
class Engine:
    """One of the two, with `depth` tokens before everything that is measured."""

    evaluate: Callable[[Sequence[int]], object]
    rewind: Callable[[int], object]
    depth: int

    def tokens_per_second(self, batches: Sequence[Sequence[int]]) -> float:
        """Of batches one after the other, which are forgotten then."""
        time.sleep(REST_SECONDS)
        began = time.perf_counter()
        for batch in batches:
            self.evaluate(batch)
        seconds = time.perf_counter() - began
        self.rewind(self.depth)
        return sum(map(len, batches)) / seconds


def glmq_engine(model: glmq.Model, depth: int) -> Engine:
    """A session that holds so many tokens."""
    session = model.session()
    if depth:
        session.evaluate([1] * POSITIONS_PER_PAGE)
        sequence, missing = session.sequence, depth - POSITIONS_PER_PAGE
        sequence.reserve(missing)
        first, *others = [page.bytes for page in sequence.pages]
        for memory in others:
            memory[:] = first
        sequence.extend([1] * missing)
        sequence.keep_private()
    return Engine(session.evaluate, session.rewind, depth)


def pairs_of(
    path: Path, depth: int, n_pairs: int, n_threads: int
) -> tuple[dict[str, list[list[float]]], int]:
    """Of each work glmq's and llama.cpp's speeds in turn; and bytes of weights that a token reads."""
    rng = np.random.default_rng(0)
    n_ctx = depth + PROMPT + DECODE
    theirs = LlamaCpp(path, n_ctx=n_ctx, n_threads=n_threads, n_sequences=max(1, -(-depth // PROMPT) + 1))
    theirs.fill(depth)
    with glmq.load(path, n_ctx=n_ctx, n_threads=n_threads) as model:
        engines = [glmq_engine(model, depth), Engine(theirs.evaluate, theirs.rewind, depth)]
        works = {
            "prompt": [rng.integers(0, model.n_vocab, PROMPT).tolist()],
            "decode": rng.integers(0, model.n_vocab, (DECODE, 1)).tolist(),
        }
        found: dict[str, list[list[float]]] = {work: [] for work in works}
        for engine in engines:
            engine.tokens_per_second([[1], [1]])
        for i in range(n_pairs):
            for work, batches in works.items():
                order = (0, 1) if i % 2 else (1, 0)
                speeds = {which: engines[which].tokens_per_second(batches) for which in order}
                found[work].append([speeds[0], speeds[1]])
        weight_bytes = model.work.weight_bytes + model.work.output_bytes
    theirs.close()
    return found, weight_bytes


def row(name: str, pairs: Sequence[Sequence[float]], note: str = "") -> str:
    """Of a table: medians, and the ratio's median and range."""
    ours, theirs = (statistics.median(each) for each in zip(*pairs, strict=True))
    ratios = sorted(a / b for a, b in pairs)
    unstable = " (unstable)" if ratios[-1] > 1.15 * ratios[0] else ""
    return (
        f"| {name} | {ours:.1f} | {theirs:.1f} | {statistics.median(ratios):.2f}"
        f" ({ratios[0]:.2f} to {ratios[-1]:.2f}){unstable} | {note} |"
    )


def near_rows(folder: Path, n_pairs: int, n_threads: int) -> Iterator[str]:
    """Without anything before."""
    for type_name in TYPES:
        path = write_flash(folder / f"flash-{type_name}-4.gguf", type_name)
        pool = ThreadPool(n_threads)
        bandwidth = max(read_bandwidth(pool, np.fromfile(path, np.uint8, MEASURED_BYTES)) for _ in range(3))
        pool.close()
        found, weight_bytes = pairs_of(path, 0, n_pairs, n_threads)
        share = statistics.median(ours for ours, _ in found["decode"]) * weight_bytes / bandwidth
        yield row(f"{type_name}, prompt of {PROMPT}", found["prompt"])
        yield row(
            f"{type_name}, decode", found["decode"], f"{share:.0%} of the memory's {bandwidth / 1e9:.0f} GB/s"
        )


def far_rows(folder: Path, n_pairs: int, n_threads: int) -> Iterator[str]:
    """Behind many tokens."""
    path = write_flash(folder / "flash-Q4_0-4.gguf", "Q4_0")
    for depth in DEPTHS:
        found, _ = pairs_of(path, depth, n_pairs, n_threads)
        for work, pairs in found.items():
            yield row(f"Q4_0, {work} at depth {depth:,}", pairs)


def whole_rows(folder: Path, n_threads: int) -> Iterator[str]:
    """The whole model where little memory is allowed."""
    path = write_flash(folder / "flash-Q4_K_M-47.gguf", "Q4_K_M", 47, 154_880)
    found: dict[str, dict[str, list[float]]] = {}
    for engine, *options in (
        ("glmq", "--ram", "8G", "--decode", "64"),
        ("xllamacpp", "--mapped", "--decode", "16"),
    ):
        command = [sys.executable, str(HERE / "measure.py"), engine, str(path), "--threads", str(n_threads)]
        done = run_limited([*command, "--prompt", "128", "--repeat", "1", *options], LIMIT + 500_000_000)
        if done.returncode:
            raise subprocess.CalledProcessError(done.returncode, command)
        found[engine] = json.loads(done.stdout.splitlines()[-1])
        print(found[engine], file=sys.stderr)
    for work in ("prompt", "decode"):
        pair = [found[engine][work][0] for engine in ("glmq", "xllamacpp")]
        yield row(f"47 layers, {path.stat().st_size / 1e9:.1f} GB in 8 GB, {work}", [pair], "one run")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=("near", "far", "whole", []), default=[])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=cache_folder() / "bench")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    parts = args.parts or ["near", "far", "whole"]
    print("| work | glmq | llama.cpp | ratio | |\n| --- | --- | --- | --- | --- |", flush=True)
    rows = {
        "near": lambda: near_rows(args.folder, args.pairs, args.threads),
        "far": lambda: far_rows(args.folder, args.pairs, args.threads),
        "whole": lambda: whole_rows(args.folder, args.threads),
    }
    for part in parts:
        for line in rows[part]():
            print(line, flush=True)


if __name__ == "__main__":
    main()
