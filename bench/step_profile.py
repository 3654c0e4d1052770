"""Where the time of a step goes, by operation: of one token or of a few in the row form.

python bench/step_profile.py FILE [--tokens 1] [--depth 512] [--threads 2] [--rounds 9]

Each operation of the tape is run by itself on all threads, in the tape's order, so that its weights come from
memory as in a step. What a whole step takes beyond their sum is told as waiting, or what they gain together.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

from glmq_kernels.threads.thread_pool import ThreadPool
from scaling import timed

import glmq


def whole_step(model: glmq.Model, rounds: int) -> float:
    """Seconds of all operations in one run, for what the tape's state says."""
    thread_pool, seconds = ThreadPool(model.n_threads), float("inf")
    for _ in range(rounds):
        began = time.perf_counter()
        model._program.tape.run(thread_pool)
        seconds = min(seconds, time.perf_counter() - began)
    thread_pool.close()
    return seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file")
    parser.add_argument("--tokens", type=int, default=1)
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    n_ctx = args.depth + args.tokens + 8
    model = glmq.load(args.file, n_ctx=n_ctx, n_threads=args.threads, activations="int8", ram="100G")
    operations = timed(model, args.tokens, args.depth, args.rounds, args.threads)
    whole = whole_step(model, args.rounds)
    seconds: dict[str, float] = defaultdict(float)
    n_bytes: dict[str, float] = defaultdict(float)
    n_times: dict[str, int] = defaultdict(int)
    for each in operations:
        name = each.name.removeprefix("ops.").replace(".kernel.", ": ")
        seconds[name] += each.seconds
        n_bytes[name] += each.n_bytes
        n_times[name] += 1
    print("| operation | times | ms | of the step | GB/s of weights |\n| --- | --- | --- | --- | --- |")
    for name in sorted(seconds, key=lambda name: -seconds[name]):
        speed = f"{n_bytes[name] / seconds[name] / 1e9:.1f}" if n_bytes[name] else ""
        ms, share = seconds[name] * 1e3, seconds[name] / whole
        print(f"| {name} | {n_times[name]} | {ms:.3f} | {share:.1%} | {speed} |")
    rest, n_barriers = whole - sum(seconds.values()), sum(each.waits for each in operations)
    print(f"| {n_barriers} barriers and the rest | | {rest * 1e3:.3f} | {rest / whole:.1%} | |")
    print(f"| the whole step | | {whole * 1e3:.3f} | | {sum(n_bytes.values()) / whole / 1e9:.1f} |")


if __name__ == "__main__":
    main()
