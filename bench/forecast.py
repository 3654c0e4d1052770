"""What `glmq plan` expects beside what `glmq bench` then measures: rows of docs/numbers.md, as Markdown.

python bench/forecast.py [--folder FOLDER] [--rounds 2] [--only NAME ...] [--prepare] [--own-time]

Each round of a case measures this machine anew, plans, and runs the model, all within a minute, so that what
else the machine does weighs on both. Files of GLM-4.5-Air's and GLM-4.7-Flash's shapes with random weights
are made in the folder (default: bench/ in glmq's cache folder), where they stay. Some minutes.

--prepare: before that, run each model once, so that kernels are compiled and it is known which experts are
used. Without it that must have been done earlier; `--rounds 0` does nothing else.

--own-time: with one thread, in the processor time of the processes, for machines that are busy with other
work; without limits of memory, as waiting for the disk is no time then.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glmq_kernels.jit.cache_folder import cache_folder
from synthetic import write_air, write_flash

PROMPT, ANSWER = 512, 32
SHARES = (0.8, 0.65, 0.5)
"""Of the file's size, as limits of memory."""


OWN_TIME = "import time; time.perf_counter = time.process_time; from glmq.cli import main; main()"
"""The command line with a clock that stands still while other processes have the processor."""


@dataclass(frozen=True)
class Case:
    """A model and a limit of memory, or none."""

    name: str
    model: str
    ram: str = ""

    @property
    def options(self) -> list[str]:
        """What plan and bench are both told."""
        return [self.model, *(["--ram", self.ram] if self.ram else [])]


@dataclass(frozen=True)
class Round:
    """Tokens per second of the prompt and the answer, and bytes from disk for a token of the answer.

    low, high: the range that was told.
    """

    expected: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    measured: tuple[float, float]
    expected_bytes: float
    measured_bytes: float


def cases(folder: Path) -> list[Case]:
    """Those of the table."""
    air = write_air(folder / "air-Q4_0-3.gguf")
    found = [
        Case("demo", "demo"),
        Case("demo-tools", "demo-tools"),
        Case("Air's shape, Q4_0", str(air)),
        Case("Air's shape, Q4_K_M", str(write_air(folder / "air-Q4_K_M-3.gguf", "Q4_K_M"))),
        Case("Flash's shape, Q4_0", str(write_flash(folder / "flash-Q4_0-4.gguf"))),
    ]
    size = air.stat().st_size
    for share in SHARES:
        ram = f"{share * size / 1e9:.2f}G"
        found.append(Case(f"Air's shape, Q4_0, `--ram {ram}`", str(air), ram))
    return found


def run(own_time: bool, command: str, *options: str) -> Any:
    """What a command of glmq gives as JSON."""
    program = ["-c", OWN_TIME] if own_time else ["-m", "glmq"]
    threads = ["--threads", "1"] if own_time else []
    done = subprocess.run(
        [sys.executable, *program, command, *options, *threads, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def measure(case: Case, own_time: bool) -> Round:
    """Plan, then run."""
    plan = run(own_time, "plan", *case.options, "--ctx", str(PROMPT), "--prompt", str(PROMPT), "--measure")
    rows = run(own_time, "bench", *case.options, "-p", str(PROMPT), "-n", str(ANSWER), "-r", "3")
    told = [plan["tokens_per_second"][kind] for kind in ("prompt", "answer")]
    prompt, answer = (statistics.median(row["samples_ts"]) for row in rows)
    experts = rows[1]["experts"]
    return Round(
        expected=(told[0]["likely"], told[1]["likely"]),
        low=(told[0]["low"], told[1]["low"]),
        high=(told[0]["high"], told[1]["high"]),
        measured=(prompt, answer),
        expected_bytes=plan["disk_bytes_per_token"]["likely"],
        measured_bytes=experts["bytes_read"] / experts["tokens"] if experts else 0.0,
    )


def row(case: Case, rounds: Sequence[Round]) -> str:
    """A line of the table: medians, and the ratios' range."""
    cells = [case.name]
    for i in range(2):
        expected, low, high, measured = (
            statistics.median(getattr(each, side)[i] for each in rounds)
            for side in ("expected", "low", "high", "measured")
        )
        ratios = [each.expected[i] / each.measured[i] for each in rounds]
        spread = f" ({min(ratios):.2f} to {max(ratios):.2f})" if len(rounds) > 1 else ""
        cells += [
            f"{expected:.4g} ({low:.4g} to {high:.4g})", f"{measured:.4g}",
            f"{statistics.median(ratios):.2f}{spread}",
        ]  # fmt: skip
    of_disk = [
        statistics.median(getattr(each, f"{side}_bytes") for each in rounds)
        for side in ("expected", "measured")
    ]
    cells.append(" / ".join(f"{n_bytes / 1e6:.0f} MB" for n_bytes in of_disk) if case.ram else "")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, default=cache_folder() / "bench")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--only", nargs="+", help="cases in whose names one of these is")
    parser.add_argument("--prepare", action="store_true")
    parser.add_argument("--own-time", action="store_true")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    print("| model | prompt: expected | measured | ratio | answer: expected | measured | ratio | from disk |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for case in cases(args.folder):
        if not any(part in case.name for part in args.only or [""]) or (args.own_time and case.ram):
            continue
        if args.prepare:
            run(args.own_time, "bench", *case.options, "-p", "8", "-n", str(4 * ANSWER), "-r", "1")
        if not args.rounds:
            continue
        rounds = [measure(case, args.own_time) for _ in range(args.rounds)]
        print(row(case, rounds), flush=True)


if __name__ == "__main__":
    main()
