"""Time more threads than cores beside as many as there are: decoding and prompts of one file, in turn.

python bench/many_threads.py FILE [--threads 2,3,4,8,16,32,64] [--prompt 256] [--decode 12] [--rounds 3]

Prints a table of milliseconds, the least of the rounds and their median, and the ratio to the first number
of threads; checks that decoding gives the same logits, to the bit, on all of them.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import glmq
from glmq.session import Session


def decode_ms(session: Session, n_past: int, n_tokens: int) -> float:
    """Milliseconds of a token."""
    session.rewind(n_past)
    began = time.perf_counter()
    for i in range(n_tokens):
        session.evaluate([i])
    return (time.perf_counter() - began) * 1e3 / n_tokens


def prompt_ms(session: Session, tokens: list[int]) -> float:
    """Milliseconds of a prompt."""
    session.rewind(0)
    began = time.perf_counter()
    session.evaluate(tokens)
    return (time.perf_counter() - began) * 1e3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--threads", default="2,3,4,8,16,32,64")
    parser.add_argument("--prompt", type=int, default=256)
    parser.add_argument("--decode", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    counts = [int(each) for each in args.threads.split(",")]
    models = [glmq.load(args.file, n_ctx=1024, n_threads=n, activations="int8") for n in counts]
    sessions = [model.session() for model in models]
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, models[0].n_vocab, args.prompt).tolist()
    logits = []
    for session in sessions:
        session.evaluate(tokens[:16])
        session.rewind(0)
        logits.append([session.evaluate([token]).copy() for token in tokens[:4]])
    assert all(np.array_equal(each, logits[0]) for each in logits[1:]), "results depend on the threads"
    decode: list[list[float]] = [[] for _ in counts]
    prompt: list[list[float]] = [[] for _ in counts]
    for _ in range(args.rounds):
        for i, session in enumerate(sessions):
            prompt[i].append(prompt_ms(session, tokens))
            decode[i].append(decode_ms(session, 16, args.decode))
    print("| threads | decode ms (median) | ratio | prompt ms (median) | ratio |")
    print("| --- | --- | --- | --- | --- |")
    for n, each, whole in zip(counts, decode, prompt, strict=True):
        print(
            f"| {n} | {min(each):.1f} ({statistics.median(each):.1f}) | {min(each) / min(decode[0]):.2f}"
            f" | {min(whole):.0f} ({statistics.median(whole):.0f}) | {min(whole) / min(prompt[0]):.2f} |"
        )


if __name__ == "__main__":
    main()
