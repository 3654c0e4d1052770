"""glmq at two levels of instructions, and another engine, in turn on files of Air's shape.

python bench/levels.py [Q4_0 Q4_K_M ...] [--levels amx,avx512] [--peer node-llama-cpp] [--rounds 5]

Prints a row for each file and work: tokens per second, and the first level's speed in that of the other level
and of the engine, round by round. Files are those of `synthetic.py`, three layers.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from glmq_kernels.jit.cache_folder import cache_folder
from pairs import Result, measure, with_range
from peers import PEERS
from synthetic import write_air

WORKS = {"prompt": "prompt of 512", "decode": "decode"}
OPTIONS = ("--prompt", "512", "--decode", "24", "--repeat", "2")


def speeds(path: Path, levels: list[str], peer: str, n_rounds: int) -> dict[str, list[Result]]:
    """What each level and the engine did round by round, in an order that changes."""
    runs = [*((level, "glmq", level) for level in levels), (peer, peer, levels[0])]
    for _, engine, level in runs:
        measure(engine, path, "--prompt", "16", "--decode", "1", "--repeat", "1", level=level)
    found: dict[str, list[Result]] = {name: [] for name, _, _ in runs}
    for i in range(n_rounds):
        for name, engine, level in runs[:: 1 if i % 2 else -1]:
            found[name].append(measure(engine, path, *OPTIONS, level=level))
    return found


def row(title: str, work: str, found: dict[str, list[Result]]) -> str:
    """A row of the table."""
    ours, *others = ([max(each[work]) for each in runs] for runs in found.values())
    cells = [f"{statistics.median(ours):.0f}"]
    for theirs in others:
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        cells += [f"{statistics.median(theirs):.0f}", with_range(ratios)]
    return f"| {title}: {WORKS[work]} | {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("types", nargs="*", default=["Q4_0", "Q4_K_M"])
    parser.add_argument("--levels", default="amx,avx512")
    parser.add_argument("--peer", choices=PEERS, default="node-llama-cpp")
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    first, second = args.levels.split(",")
    print(f"| work | {first} | {second} | ratio | {args.peer} | ratio |\n|{' --- |' * 6}")
    for type_name in args.types:
        path = write_air(cache_folder() / "bench" / f"air-{type_name}-3.gguf", type_name)
        found = speeds(path, [first, second], args.peer, args.rounds)
        for work in WORKS:
            print(row(type_name, work, found), flush=True)


if __name__ == "__main__":
    main()
