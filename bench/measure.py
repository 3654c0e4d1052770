"""Time one engine on one file, in a process of its own; prints one JSON object.

python bench/measure.py glmq|llama.cpp FILE [--threads 2] [--prompt 512] [--decode 64] [--depth 0]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Engine:
    """What is measured. work: bytes of weights and multiply-adds of one token, where known."""

    evaluate: Callable[[Sequence[int]], None]
    rewind: Callable[[int], None]
    n_vocab: int
    work: dict[str, int]


def start_glmq(path: str, threads: int, n_ctx: int) -> Engine:
    """glmq as it is."""
    import glmq

    model = glmq.load(path, n_ctx=n_ctx, n_threads=threads)
    session = model.session()
    work = {
        "weight_bytes": model.work.weight_bytes + model.work.output_bytes,
        "multiply_adds": model.work.multiply_adds,
    }
    return Engine(lambda tokens: (session.evaluate(tokens), None)[1], session.rewind, model.n_vocab, work)


def start_llama_cpp(path: str, threads: int, n_ctx: int) -> Engine:
    """llama.cpp with flash attention on, as its own programs have it."""
    import llama_cpp

    model = llama_cpp.Llama(
        path, n_ctx=n_ctx, n_batch=512, n_ubatch=512, n_threads=threads, n_threads_batch=threads,
        flash_attn=True, verbose=False,
    )  # fmt: skip

    def rewind(n: int) -> None:
        model.n_tokens = n  # what follows is removed from its cache with the next evaluation

    return Engine(model.eval, rewind, model.n_vocab(), {})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=("glmq", "llama.cpp"))
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--depth", type=int, default=0, help="tokens in the context before")
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    start = start_glmq if args.engine == "glmq" else start_llama_cpp
    began = time.perf_counter()
    engine = start(args.file, args.threads, args.depth + args.prompt + args.decode + 64)
    load_seconds = time.perf_counter() - began
    rng = random.Random(0)
    before, prompt, answer = (
        [rng.randrange(engine.n_vocab) for _ in range(n)] for n in (args.depth, args.prompt, args.decode)
    )
    if before:
        engine.evaluate(before)
    engine.evaluate((prompt or answer)[:16])
    results: dict[str, list[float]] = {"prompt": [], "decode": []}
    for _ in range(args.repeat):
        engine.rewind(args.depth)
        if prompt:
            began = time.perf_counter()
            engine.evaluate(prompt)
            results["prompt"].append(args.prompt / (time.perf_counter() - began))
        began = time.perf_counter()
        for token in answer:
            engine.evaluate([token])
        results["decode"].append(args.decode / (time.perf_counter() - began))
    print(json.dumps({"engine": args.engine, "load_seconds": load_seconds, **results, **engine.work}))


if __name__ == "__main__":
    main()
