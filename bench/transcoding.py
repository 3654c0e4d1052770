"""What transcoding costs at the start, and what it gains in answers and prompts.

python bench/transcoding.py [FILE.gguf ...]

Without files: the kernels by themselves, on one thread. With files: each is loaded mapped and transcoded, and
both take turns.
"""

from __future__ import annotations

import statistics
import sys
import time

import numpy as np
from glmq_kernels.arrays import aligned_zeros
from glmq_kernels.formats.tensor_types import KERNEL_TYPES, TRANSCODED_TYPES
from glmq_kernels.formats.transcoding import transcode

import glmq
from glmq.forecast.random_weights import random_weights

WEIGHTS = 16 << 20
TRIES, PAIRS = 5, 5
ANSWER, PROMPT = 16, 256


def kernel_speeds() -> None:
    """Print a row for each type."""
    print("| type | to | GB/s of the file's bytes | million weights/s |\n| --- | --- | --- | --- |")
    for type_name, new in TRANSCODED_TYPES.items():
        blocks = random_weights(type_name, WEIGHTS, np.random.default_rng(0))
        out = aligned_zeros(new.row_bytes(WEIGHTS))
        best = float("inf")
        for _ in range(TRIES):
            began = time.thread_time()
            transcode(blocks, type_name, out)
            best = min(best, time.thread_time() - began)
        n_bytes = KERNEL_TYPES[type_name].row_bytes(WEIGHTS)
        print(
            f"| {type_name} | {new.name} | {n_bytes / best / 1e9:.2f} | {WEIGHTS / best / 1e6:.0f} |",
            flush=True,
        )


def pairs(path: str) -> None:
    """Print seconds to load, and tokens per second in turns."""
    models = {}
    for load in ("mmap", "transcode"):
        began = time.perf_counter()
        models[load] = glmq.load(path, n_ctx=1024, load=load)
        print(f"{path}, {load}: loaded in {time.perf_counter() - began:.2f} s", *models[load].remarks)
    speeds: dict[tuple[str, str], list[float]] = {}
    for i in range(PAIRS + 1):
        for load, model in models.items():
            for work, seconds, n in (("decode", _answer(model), ANSWER), ("prompt", _prompt(model), PROMPT)):
                if i:  # the first time weights come into memory
                    speeds.setdefault((work, load), []).append(n / seconds)
    for work in ("decode", "prompt"):
        mapped, transcoded = speeds[work, "mmap"], speeds[work, "transcode"]
        ratios = [b / a for a, b in zip(mapped, transcoded, strict=True)]
        print(
            f"| {work} | {statistics.median(mapped):.1f} | {statistics.median(transcoded):.1f}"
            f" | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |",
            flush=True,
        )
    for model in models.values():
        model.close()


def _answer(model: glmq.Model) -> float:
    session = model.session()
    session.evaluate([1])
    began = time.perf_counter()
    for token in range(2, 2 + ANSWER):
        session.evaluate([token])
    return time.perf_counter() - began


def _prompt(model: glmq.Model) -> float:
    tokens = np.random.default_rng().integers(0, 1000, PROMPT).tolist()
    began = time.perf_counter()
    model.session().evaluate(tokens)
    return time.perf_counter() - began


def main() -> None:
    """Measure what is asked for."""
    if sys.argv[1:]:
        for path in sys.argv[1:]:
            pairs(path)
    else:
        kernel_speeds()


if __name__ == "__main__":
    main()
