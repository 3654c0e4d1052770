"""How much faster a file of requests is answered many at once than one after another.

python bench/batch_file.py [--model demo] [--requests 200] [--parallel 1 8 16 32] [--repeat 1]

Each time the model is loaded anew, so that nothing of an earlier run is cached. The settings take turns.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import glmq
from glmq.batch_file.progress import Progress
from glmq.batch_file.requests import open_batch_file
from glmq.batch_file.run import answer_file


class Forgotten:
    """Results that nobody wants."""

    def append(self, result: dict[str, Any]) -> None:
        """Take a result, which must be an answer."""
        assert result["response"]["status_code"] == 200


def write_requests(path: Path, n: int, max_tokens: int) -> None:
    """Short questions, all different."""
    with open(path, "w") as file:
        for i in range(n):
            message = {"role": "user", "content": f"Write the number {i} in words, then a sentence with it."}
            body = {"messages": [message], "max_tokens": max_tokens, "temperature": 0}
            line = {"custom_id": str(i), "method": "POST", "url": "/v1/chat/completions", "body": body}
            file.write(json.dumps(line) + "\n")


def run(path: Path, model: str, n_parallel: int) -> Progress:
    """Answer all requests of a file."""
    with glmq.load(model) as loaded, open_batch_file(path) as file:
        return answer_file(loaded, file, Forgotten(), (), n_parallel, lambda progress: None)


def main() -> None:
    """Print a line for each number of answers at once: the medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="demo")
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--max-tokens", type=int, default=24)
    parser.add_argument("--parallel", type=int, nargs="+", default=[1, 8, 16, 32])
    parser.add_argument("--repeat", type=int, default=1)
    args = parser.parse_args()
    found: dict[int, list[Progress]] = {n: [] for n in args.parallel}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "requests.jsonl"
        write_requests(path, args.requests, args.max_tokens)
        for _ in range(args.repeat):
            for n in args.parallel:
                found[n].append(run(path, args.model, n))
    seconds = {n: statistics.median(each.seconds for each in runs) for n, runs in found.items()}
    first = seconds[args.parallel[0]]
    for n, runs in found.items():
        tokens = statistics.median(each.n_answer / each.seconds for each in runs)
        per_second = args.requests / seconds[n]
        print(
            f"{n:3} at once: {per_second:6.2f} requests/s, {tokens:6.1f} tokens/s of answers,"
            f" {first / seconds[n]:.2f} times the first"
        )


if __name__ == "__main__":
    main()
