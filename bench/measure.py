"""Time one engine on one file, in a process of its own; prints one JSON object.

python bench/measure.py glmq|llama.cpp|PEER FILE [--threads 2] [--prompt 512] [--decode 64] [--depth 0]
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from glmq_kernels.jit import isa
from peers import PEERS, for_level

from glmq.system_memory import peak_memory


@dataclass(frozen=True)
class Engine:
    """What is measured.

    work: bytes of weights and multiply-adds of one token, where known. experts: counts of how experts were
    found and read so far, where some come from disk.
    """

    evaluate: Callable[[Sequence[int]], None]
    rewind: Callable[[int], None]
    n_vocab: int
    work: dict[str, int]
    experts: Callable[[], dict[str, float]] = dict


def start_glmq(args: argparse.Namespace, n_ctx: int) -> Engine:
    """glmq as it is."""
    import glmq

    # Both engines round activations to 8 bits, small models' too.
    model = glmq.load(args.file, n_ctx=n_ctx, n_threads=args.threads, ram=args.ram, activations="int8")
    if args.without and model._program.offload is not None:
        from offload_variants import leave_out

        leave_out(args.without, model._program.offload)
    session = model.session()
    work = {
        "weight_bytes": model.work.weight_bytes + model.work.output_bytes,
        "multiply_adds": model.work.multiply_adds,
    }

    def evaluate(tokens: Sequence[int]) -> None:
        session.evaluate(tokens)

    def experts() -> dict[str, float]:
        return asdict(model.experts.statistics) if model.experts else {}

    return Engine(evaluate, session.rewind, model.n_vocab, work, experts)


def start_llama_cpp(args: argparse.Namespace, n_ctx: int) -> Engine:
    """llama.cpp with flash attention on: one of the peers, or the one for the instructions in use."""
    from llama_cpp_library import LlamaCpp

    peer = for_level(isa.current().name) if args.engine == "llama.cpp" else args.engine
    model = LlamaCpp(args.file, n_ctx=n_ctx, n_threads=args.threads, mapped=args.mapped, peer=peer)

    def evaluate(tokens: Sequence[int]) -> None:
        model.evaluate(tokens)

    return Engine(evaluate, model.rewind, model.n_vocab, {})


STARTS = {"glmq": start_glmq} | dict.fromkeys(("llama.cpp", *PEERS), start_llama_cpp)
"""`llama.cpp`: built for the instructions that glmq uses."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=STARTS)
    parser.add_argument("file")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--decode", type=int, default=64)
    parser.add_argument("--depth", type=int, default=0, help="tokens in the context before")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--ram", help="glmq's memory")
    parser.add_argument(
        "--without", choices=("overlap", "prefetching"), help="glmq without a part of how it reads experts"
    )
    parser.add_argument(
        "--mapped", action="store_true", help="llama.cpp with all weights where they are mapped"
    )
    args = parser.parse_args()
    began = time.perf_counter()
    engine = STARTS[args.engine](args, args.depth + args.prompt + args.decode + 64)
    load_seconds = time.perf_counter() - began
    rng = random.Random(0)
    context, prompt, answer = (
        [rng.randrange(engine.n_vocab) for _ in range(n)] for n in (args.depth, args.prompt, args.decode)
    )
    if context:
        engine.evaluate(context)
    engine.evaluate((prompt or answer)[:16])
    results: dict[str, list[float]] = {"prompt": [], "decode": []}
    experts: dict[str, list[dict[str, float]]] = {"prompt": [], "decode": []}
    for _ in range(args.repeat):
        engine.rewind(args.depth)
        for work, batches in (("prompt", [prompt] if prompt else []), ("decode", [[t] for t in answer])):
            began, before = time.perf_counter(), engine.experts()
            for batch in batches:
                engine.evaluate(batch)
            if batches:
                n_tokens = sum(map(len, batches))
                results[work].append(n_tokens / (time.perf_counter() - began))
                experts[work].append({name: n - before[name] for name, n in engine.experts().items()})
    print(
        json.dumps(
            {
                "engine": args.engine,
                "load_seconds": load_seconds,
                **results,
                "experts": experts,
                "peak_memory": peak_memory(),
                **engine.work,
            }
        )
    )


if __name__ == "__main__":
    main()
