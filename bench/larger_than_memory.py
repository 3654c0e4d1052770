"""Measure models larger than memory, glmq and llama.cpp in turn under the same limit, and write it down.

python bench/larger_than_memory.py [--folder FOLDER] [--layers 10] [--runs 2]

Needs Linux, root (a control group limits memory), the folder 13 GB of disk. Half an hour.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from control_group import run_limited
from disk_speed import DEEP, SHALLOW, direct_read_speeds, layout_speeds
from glmq_kernels.jit.cache_folder import cache_folder
from synthetic import write_air

HERE = Path(__file__).parent
REPORT = HERE.parent / "docs" / "larger-than-memory.md"
TIMES_THE_LIMIT = (3.0, 1.5, 1.1)
WORKS = ("prompt", "decode")
PROMPT = 512
FITTING_RUNS, FITTING_DECODE = 4, 96
VARIANTS = {
    "all of it": (),
    "no overlap": ("--without", "overlap"),
    "no prefetching": ("--without", "prefetching"),
}
MODES = {"experts from disk": (), "mapped": ("--ram", "1T")}
Result = dict[str, Any]


def measure(engine: str, path: Path, limit: int, decode: int, *options: str) -> Result | None:
    """Speeds in a process that may use `limit` bytes; None when it was killed."""
    command = [sys.executable, str(HERE / "measure.py"), engine, str(path), "--threads", "2", "--repeat", "1"]
    done = run_limited([*command, "--prompt", str(PROMPT), "--decode", str(decode), *options], limit)
    result: Result | None = None if done.returncode else json.loads(done.stdout.splitlines()[-1])
    print(f"{path.stat().st_size / limit:.1f}", engine, *options, result, flush=True)
    return result


def speed(results: Sequence[Result | None], work: str) -> float:
    """Median of tokens per second over the runs that were not killed."""
    return statistics.median([each[work][0] for each in results if each] or [float("nan")])


def bytes_read(results: Sequence[Result | None], work: str) -> float:
    """Median of bytes of experts that came from disk."""
    return statistics.median(each["experts"][work][0]["bytes_read"] for each in results if each)


def disk_share(result: Result, work: str, n_tokens: int, disk: float) -> float:
    """Share of the disk's speed at which the experts that were missing were read, over the whole time."""
    seconds = n_tokens / result[work][0]
    return bytes_read([result], work) / seconds / disk


def rows_of(path: Path, times: float, n_runs: int, decode: int) -> list[list[str]]:
    """The table's rows for one limit: both engines in turn, the disk's speed before each run of glmq."""
    limit = int(path.stat().st_size / times)
    ours, theirs, disk = [], [], []
    for i in range(n_runs):
        for engine in ("glmq", "llama.cpp")[:: 1 if i % 2 else -1]:
            if engine == "glmq":
                disk.append(max(direct_read_speeds(path)))
                ours.append(measure(engine, path, limit, decode))
            else:
                theirs.append(measure(engine, path, limit, decode, "--mapped"))
    peak = max(each["peak_memory"] for each in ours if each)
    rows = []
    for work, n_tokens in zip(WORKS, (PROMPT, decode), strict=True):
        shares = [disk_share(each, work, n_tokens, d) for each, d in zip(ours, disk, strict=True) if each]
        read = bytes_read(ours, work) / (n_tokens if work == "decode" else 1)
        speeds = speed(ours, work), speed(theirs, work)
        rows.append(
            [f"{times} × the limit", work, f"{speeds[0]:.2f}", f"{speeds[1]:.2f}",
             f"{speeds[0] / speeds[1]:.1f}", f"{read / 1e9:.2f} GB", f"{statistics.median(shares):.0%}",
             f"{peak / limit:.0%}"]
        )  # fmt: skip
    return rows


def in_turn(
    path: Path, times: float, options: Mapping[str, Sequence[str]], n_runs: int, decode: int
) -> dict[str, list[Result | None]]:
    """Runs of glmq with various options under one limit."""
    limit = int(path.stat().st_size / times)
    found: dict[str, list[Result | None]] = {name: [] for name in options}
    for i in range(n_runs):
        for name in list(options)[:: 1 if i % 2 else -1]:
            found[name].append(measure("glmq", path, limit, decode, *options[name]))
    return found


def variant_rows(path: Path, n_runs: int, decode: int) -> list[list[str]]:
    """Answers at the tightest limit, with and without parts of how experts are read."""
    found = in_turn(path, TIMES_THE_LIMIT[0], VARIANTS, n_runs, decode)
    whole = speed(found["all of it"], "decode")
    return [
        [name, f"{speed(each, 'decode'):.2f}", f"{speed(each, 'decode') / whole:.2f}",
         f"{bytes_read(each, 'decode') / decode / 1e9:.2f} GB", *_prefetching(each)]
        for name, each in found.items()
    ]  # fmt: skip


def mode_rows(path: Path, n_runs: int, decode: int) -> list[list[str]]:
    """A model that nearly fits, both ways."""
    found = in_turn(path, TIMES_THE_LIMIT[-1], MODES, n_runs, decode)
    return [[name, *(f"{speed(each, work):.2f}" for work in WORKS)] for name, each in found.items()]


def _prefetching(results: Sequence[Result | None]) -> list[str]:
    counts = [each["experts"]["decode"][0] for each in results if each]
    prefetched, right, in_time, misses = (
        sum(count[name] for count in counts)
        for name in ("prefetched", "prefetched_rightly", "prefetched_in_time", "misses")
    )
    return (
        [f"{part:.0%}" for part in (right / prefetched, right / misses, in_time / misses)]
        if prefetched
        else [""] * 3
    )


def fitting_rows(path: Path) -> list[list[str]]:
    """With room for everything: mapped because nothing was said, or because `--ram` allows it."""
    options = {"nothing said": [], "`--ram 20G`": ["--ram", "20G"]}
    found: dict[str, list[Result]] = {name: [] for name in options}
    command = [sys.executable, str(HERE / "measure.py"), "glmq", str(path), "--threads", "2", "--repeat", "3"]
    for i in range(FITTING_RUNS):
        for name in list(options)[:: 1 if i % 2 else -1]:
            done = subprocess.run(
                [*command, *options[name], "--decode", str(FITTING_DECODE)],
                stdout=subprocess.PIPE,
                check=True,
            )
            found[name].append(json.loads(done.stdout))
            print(name, found[name][-1], flush=True)
    return [
        [name, *(f"{statistics.median(x for each in results for x in each[work]):.1f}" for work in WORKS)]
        for name, results in found.items()
    ]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown."""
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows))


def report(path: Path, layers: int, runs: int, decode: int, times: Sequence[float]) -> str:
    """Measure everything; gives the page."""
    first, again = direct_read_speeds(path)
    layout = {key: speed / 1e9 for key, speed in layout_speeds(path).items()}
    limits = table(
        ["model", "work", "glmq", "llama.cpp", "ratio", "read", "of the disk's speed", "peak memory"],
        [row for each in times for row in rows_of(path, each, runs, decode)],
    )
    variants = table(
        ["", "decode", "beside all of it", "read", "prefetched rightly", "asked early", "there early"],
        variant_rows(path, runs, decode),
    )
    layouts = table(
        ["experts at once", "apart", "side by side"],
        [
            [str(depth), f"{layout['apart', depth]:.2f}", f"{layout['side by side', depth]:.2f}"]
            for depth in (SHALLOW, DEEP)
        ],
    )
    modes = table(["", *WORKS], mode_rows(path, runs, decode))
    fitting = table(["", *WORKS], fitting_rows(path))
    return f"""# Models larger than memory, measured

Made by `make bench-disk`: a Q4_0 file of {path.stat().st_size / 1e9:.1f} GB with the widths and experts of
GLM-4.5-Air, {layers} layers and random weights, in a control group that limits memory, the file cache
included; two threads. Direct reads of experts at random: {first / 1e9:.2f} GB/s, the same ones again
{again / 1e9:.2f} GB/s (a virtual machine's disk may be in its host's memory). llama.cpp maps the file and
does not rearrange its weights. Prompts have {PROMPT} random tokens; answers {decode}, also random, so that
experts are chosen about evenly: real texts use some experts more than others, and more of them are found in
memory. Tokens per second, medians of {runs} runs in turn.

{limits}

Read: from disk, for the whole prompt, or for each token of an answer. Of the disk's speed: that, per second
of the whole time, in the faster of the two speeds measured just before with nothing else going on. Peak
memory: of the process, in the limit.

## What overlap and prefetching are worth

Answers at {TIMES_THE_LIMIT[0]} × the limit. No overlap: a layer's experts are computed when all are there. No
prefetching: the next layer's experts are not asked for before its own router has spoken. Asked, there early:
share of the missing experts that prefetching had asked for, or that were even there by then. Random weights
are easier to predict than a real model's.

{variants}

## Conversations larger than memory

Keys and values of conversations can go to the disk too (`--cache-disk`), past the file cache as experts do.
A model whose experts come from the disk has memory for the keys and values of one full context, so without
that other conversations that are continued later are read again.

## Three matrices apart or side by side

A GGUF file keeps gate, up and down matrices of an expert in three tensors. GB/s of reading experts as they
lie, and of reading as many bytes in one piece, with few and many asked for at once:

{layouts}

## When the model nearly fits

At {TIMES_THE_LIMIT[-1]} × the limit, beside glmq with the file mapped as if all of it fitted:

{modes}

## When everything fits

The same file with room for all of it: mapped because nothing was said, or because `--ram` allows it, which is
the same in either case. Medians of {FITTING_RUNS} runs in turn of three rounds each, answers of
{FITTING_DECODE} tokens.

{fitting}

## Which experts stay

Share of experts that different policies would find in memory, for routing with stated skew and locality, by
`make bench-disk` too (`bench/expert_cache.py`; the budget is in units of one token's experts):

![Hit rate against budget](expert-cache.svg)
"""


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=cache_folder() / "bench")
    parser.add_argument("--layers", type=int, default=10)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--decode", type=int, default=24)
    parser.add_argument("--times", default=",".join(map(str, TIMES_THE_LIMIT)))
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    path = write_air(args.folder / f"air-{args.layers}-layers-Q4_0.gguf", "Q4_0", n_layers=args.layers)
    times = [float(each) for each in args.times.split(",")]
    REPORT.write_text(report(path, args.layers, args.runs, args.decode, times))
    print(REPORT.read_text())


if __name__ == "__main__":
    main()
