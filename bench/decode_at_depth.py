"""Tokens per second of decoding behind much context, and what part of the memory's speed that is.

python bench/decode_at_depth.py FILE.gguf [--depth 32768] [--cache-type F16 --cache-type Q8_0] [--seconds 8]

Pages are filled with numbers instead of evaluating tokens. A step reads the weights that a token takes, and
all keys and values; the share is that of the speed at which as many threads read the mapped file. Types take
turns; the table has each one's median, and the range of shares.
"""

from __future__ import annotations

import argparse
import statistics
import time
from contextlib import ExitStack

import numpy as np
from glmq_kernels.ops.machine_peak.operation import read_bandwidth
from glmq_kernels.threads.thread_pool import ThreadPool

import glmq
from glmq.model import Model
from glmq.session import Session

TURN = 8
"""Tokens that a type decodes before the next one's turn."""


def at_depth(model: Model, depth: int) -> Session:
    """A session that holds so many tokens, whose keys and values are small numbers."""
    session = model.session()
    sequence = session.sequence
    sequence.reserve(depth)
    for page in sequence.pages:
        page.bytes[:] = 0x11
    sequence.extend([1] * depth)
    return session


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file")
    parser.add_argument("--depth", type=int, default=32768)
    parser.add_argument("--cache-type", action="append", dest="cache_types")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each type")
    options = parser.parse_args()
    cache_types = options.cache_types or ["F16", "Q8_0"]
    with ExitStack() as stack:
        models = {
            kind: stack.enter_context(glmq.load(options.file, n_ctx=options.depth + 4096, cache_type=kind))
            for kind in cache_types
        }
        sessions = {kind: at_depth(model, options.depth) for kind, model in models.items()}
        first = next(iter(models.values()))
        pool = ThreadPool(first.n_threads)
        bandwidth = read_bandwidth(pool, np.memmap(options.file, np.uint8, "r"))
        pool.close()
        steps: dict[str, list[float]] = {kind: [] for kind in cache_types}
        for session in sessions.values():
            session.evaluate([2])
            session.rewind(options.depth)
        while min(map(sum, steps.values())) * TURN < options.seconds:
            for kind, session in sessions.items():
                began = time.perf_counter()
                for token in range(TURN):
                    session.evaluate([token])
                steps[kind].append((time.perf_counter() - began) / TURN)
                session.rewind(options.depth)
        print(f"memory: {bandwidth / 1e9:.1f} GB/s; depth {options.depth}")
        print("| cache | tokens/s | MB of a token | of the memory's speed |")
        print("| --- | --- | --- | --- |")
        for kind, session in sessions.items():
            work = models[kind].work
            n_bytes = work.weight_bytes + work.output_bytes
            n_bytes += session.sequence.shape.position_bytes * options.depth
            shares = [n_bytes / seconds / bandwidth for seconds in steps[kind]]
            speed = 1 / statistics.median(steps[kind])
            print(
                f"| {kind} | {speed:.1f} | {n_bytes / 1e6:.0f} | {statistics.median(shares):.0%}"
                f" ({min(shares):.0%} to {max(shares):.0%}) |"
            )


if __name__ == "__main__":
    main()
