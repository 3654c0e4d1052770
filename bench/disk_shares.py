"""Where the time of a model larger than its memory goes, beside what arithmetic and the disk alone allow.

python bench/disk_shares.py FILE --ram 3.6G [--threads 2] [--prompt 512] [--decode 16] [--rounds 3]

FILE must fit into the machine's memory, where the arithmetic alone is timed, in turn. Prints prompts one by
one, since the first takes fresh memory from the system, then the medians of decoding; and the shares of what
could be had if reading and computing went on all at once.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from disk_speed import direct_read_speeds

import glmq
from glmq.session import Session


@dataclass(frozen=True)
class Run:
    """Seconds of some tokens: by the clock, and of the system's work; and bytes of experts that were read."""

    n_tokens: int
    seconds: float
    of_system: float
    n_bytes: int
    wait_share: float

    def line(self, name: str) -> str:
        """For people to read."""
        return (
            f"{name}: {self.n_tokens / self.seconds:.2f} tokens/s, {self.seconds:.2f} s, of which"
            f" {self.of_system:.2f} in the system, {self.n_bytes / 1e9:.2f} GB read,"
            f" waiting {self.wait_share:.0%}"
        )


def run(model: glmq.Model, session: Session, n_past: int, batches: list[list[int]]) -> Run:
    """Evaluate batches behind the first `n_past` tokens."""
    session.rewind(n_past)
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
    earlier = model.experts.statistics.copy() if model.experts else None
    for batch in batches:
        session.evaluate(batch)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    n_tokens, of_system = sum(map(len, batches)), after.ru_stime - before.ru_stime
    if model.experts is None or earlier is None:
        return Run(n_tokens, seconds, of_system, 0, 0.0)
    found = model.experts.statistics.since(earlier)
    return Run(n_tokens, seconds, of_system, found.bytes_read, found.wait_share)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--ram", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    n_ctx = args.prompt + args.decode + 16
    models = [
        glmq.load(args.file, n_ctx=n_ctx, n_threads=args.threads, ram=ram, activations="int8")
        for ram in (args.ram, "100G")
    ]
    sessions = [model.session() for model in models]
    rng = np.random.default_rng(0)
    prompt = rng.integers(0, models[0].n_vocab, args.prompt).tolist()
    seconds = []
    for name, model, session in zip(("from disk", "resident"), models, sessions, strict=True):
        runs = [run(model, session, 0, [prompt]) for _ in range(args.rounds)]
        for i, each in enumerate(runs):
            print(each.line(f"prompt {i + 1} {name}, batches of {model.batch}"), flush=True)
        seconds.append(min(each.seconds for each in runs[1:]))
    print(f"prompts after the first: {seconds[1] / seconds[0]:.0%} of the resident speed")
    answers: list[list[Run]] = [[], []]
    for _ in range(args.rounds):
        tokens = [[token] for token in rng.integers(0, models[0].n_vocab, args.decode).tolist()]
        for found, model, session in zip(answers, models, sessions, strict=True):
            found.append(run(model, session, args.prompt, tokens))
            print(found[-1].line("decode" if model.experts else "decode, resident"), flush=True)
    whole, computing = (statistics.median(each.seconds for each in found) for found in answers)
    disk = max(direct_read_speeds(args.file))
    reading = statistics.median(each.n_bytes for each in answers[0]) / disk
    print(
        f"disk {disk / 1e9:.2f} GB/s; decode: arithmetic {computing:.2f} s, reading {reading:.2f} s, both"
        f" {whole:.2f} s: {max(computing, reading) / whole:.0%} of what could be had,"
        f" {reading / whole:.0%} of the disk's speed"
    )


if __name__ == "__main__":
    main()
