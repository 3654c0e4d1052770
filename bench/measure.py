"""Time one engine on one file, in a process of its own; prints one JSON object.

python bench/measure.py glmq|llama.cpp FILE [--threads 2] [--prompt 512] [--decode 64] [--repeat 3]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence

Evaluate = Callable[[Sequence[int]], None]


def start_glmq(path: str, threads: int) -> tuple[Evaluate, Callable[[], None], int]:
    """An `evaluate(tokens)`, a `forget()` and the vocabulary's size."""
    import glmq

    model = glmq.load(path, n_ctx=2048, n_threads=threads)
    session = model.session()
    return lambda tokens: (session.evaluate(tokens), None)[1], lambda: session.rewind(0), model.n_vocab


def start_llama_cpp(path: str, threads: int) -> tuple[Evaluate, Callable[[], None], int]:
    """The same for llama.cpp, with flash attention on, as its own programs have it."""
    import llama_cpp

    model = llama_cpp.Llama(
        path, n_ctx=2048, n_batch=512, n_ubatch=512, n_threads=threads, n_threads_batch=threads,
        flash_attn=True, verbose=False,
    )  # fmt: skip
    return model.eval, model.reset, model.n_vocab()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=("glmq", "llama.cpp"))
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    start = start_glmq if args.engine == "glmq" else start_llama_cpp
    began = time.perf_counter()
    evaluate, forget, n_vocab = start(args.file, args.threads)
    load_seconds = time.perf_counter() - began
    rng = random.Random(0)
    prompt = [rng.randrange(n_vocab) for _ in range(args.prompt)]
    answer = [rng.randrange(n_vocab) for _ in range(args.decode)]
    evaluate(prompt[:16])
    results: dict[str, list[float]] = {"prompt": [], "decode": []}
    for _ in range(args.repeat):
        forget()
        began = time.perf_counter()
        evaluate(prompt)
        results["prompt"].append(args.prompt / (time.perf_counter() - began))
        began = time.perf_counter()
        for token in answer:
            evaluate([token])
        results["decode"].append(args.decode / (time.perf_counter() - began))
    print(json.dumps({"engine": args.engine, "load_seconds": load_seconds, **results}))


if __name__ == "__main__":
    main()
