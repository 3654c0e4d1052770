"""What it costs to add up the inputs of all matrices while a model reads texts, beside only reading them.

python bench/importance_cost.py FILE [--chunks 4] [--rounds 5] [--threads 2] [--ram 1.5G]

With --ram experts are read from the disk.

The same chunks of random tokens go through the model without and then with it; prints one JSON object:
tokens per second of both, and the share of time that comes on top (of each the best of the rounds).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from glmq.gguf import open_gguf
from glmq.importance.observed_model import ObservedModel
from glmq.memory_plan import parse_size
from glmq.model_file import model_file

CHUNK = 512


def seconds(model: ObservedModel, chunks: list[np.ndarray]) -> float:
    """How long the chunks take."""
    began = time.perf_counter()
    for first in range(0, len(chunks), model.n_at_once):
        model.read(chunks[first : first + model.n_at_once])
    return time.perf_counter() - began


def best(path: Path, observes: bool, given: argparse.Namespace, ram: int | None) -> float:
    """Seconds of the best round, of one model at a time, which has all the memory then."""
    rng = np.random.default_rng(0)
    with ObservedModel(open_gguf(path), CHUNK, observes=observes, n_threads=given.threads, ram=ram) as model:
        times = [
            seconds(model, [rng.integers(0, model.n_vocab, CHUNK) for _ in range(given.chunks)])
            for _ in range(given.rounds + 1)
        ]
    return min(times[1:])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--chunks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--ram")
    given = parser.parse_args()
    path = model_file(given.file)
    ram = None if given.ram is None else parse_size(given.ram)
    plain, observed = (best(path, observes, given, ram) for observes in (False, True))
    n_tokens = given.chunks * CHUNK
    print(
        json.dumps(
            {
                "plain_tokens_per_second": round(n_tokens / plain, 1),
                "observed_tokens_per_second": round(n_tokens / observed, 1),
                "cost": round(observed / plain - 1, 4),
            }
        )
    )


if __name__ == "__main__":
    main()
