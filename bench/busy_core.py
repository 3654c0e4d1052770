"""Decode speed while another program keeps some cores busy, in proportion to the speed on a quiet machine.

python bench/busy_core.py glmq|llama.cpp|PEER FILE [--threads 2] [--busy 1] [--decode 24] [--rounds 5]

The other program is one process a core that does nothing but run, pinned to the last cores (Linux). Both
speeds are measured in turn; prints one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from measure import STARTS, Engine

WARM_UP_SECONDS = 0.3
"""For which the other program runs before anything is measured."""


@contextmanager
def busy_cores(count: int) -> Iterator[None]:
    """Keep the last `count` cores that this process may use busy."""
    spinners = [
        subprocess.Popen(
            [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile 1: pass"]
        )
        for core in sorted(os.sched_getaffinity(0))[-count:]
    ]
    try:
        time.sleep(WARM_UP_SECONDS)
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def decode_speed(engine: Engine, n_tokens: int) -> float:
    """Tokens per second, one after the other."""
    engine.rewind(1)
    began = time.perf_counter()
    for i in range(n_tokens):
        engine.evaluate([i % engine.n_vocab])
    return n_tokens / (time.perf_counter() - began)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=STARTS)
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--busy", type=int, default=1, help="cores that the other program keeps busy")
    parser.add_argument("--decode", type=int, default=24, help="tokens of a measurement")
    parser.add_argument("--rounds", type=int, default=5)
    parser.set_defaults(ram=None, without=None, mapped=False)
    args = parser.parse_args()
    engine = STARTS[args.engine](args, args.decode + 16)
    engine.evaluate([0])
    decode_speed(engine, args.decode)
    quiet, busy = [], []
    for _ in range(args.rounds):
        quiet.append(decode_speed(engine, args.decode))
        with busy_cores(args.busy):
            busy.append(decode_speed(engine, args.decode))
    ratios = [b / q for q, b in zip(quiet, busy, strict=True)]
    print(
        json.dumps(
            {
                "engine": args.engine,
                "quiet": statistics.median(quiet),
                "busy": statistics.median(busy),
                "ratio": statistics.median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
            }
        )
    )


if __name__ == "__main__":
    main()
