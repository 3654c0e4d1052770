"""glmq and other engines in turn on one file, each time in a process of its own."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from glmq_kernels.ops.machine_peak.operation import dot_peak, read_bandwidth
from glmq_kernels.threads.thread_pool import ThreadPool

HERE = Path(__file__).parent
THREADS = 2
MEASURED_BYTES = 2_000_000_000
STABLE = 0.15
"""A row whose ratios range over more than this part of their median is marked."""

Result = dict[str, Any]


@dataclass
class Compared:
    """Of one file: what each engine did round by round, and what the machine could do beside each."""

    results: dict[str, list[Result]] = field(default_factory=dict)
    bandwidth: list[float] = field(default_factory=list)
    dot_peak: list[float] = field(default_factory=list)

    def speed(self, engine: str, work: str) -> float:
        """Tokens per second: the better run of each process, the median of the processes."""
        return statistics.median(max(each[work]) for each in self.results[engine])

    def ratio(self, engine: str, work: str) -> str:
        """glmq's speed in another engine's, round by round: the median, its range, a mark if that is wide."""
        pairs = zip(self.results["glmq"], self.results[engine], strict=True)
        return with_range([max(ours[work]) / max(theirs[work]) for ours, theirs in pairs])

    def cells(self, engine: str, work: str) -> str:
        """glmq, the other engine and the ratio, as cells of a table."""
        ours, theirs = self.speed("glmq", work), self.speed(engine, work)
        return f"{ours:.0f} | {theirs:.0f} | {self.ratio(engine, work)}"

    def share(self, work: str) -> float:
        """glmq's share of the read bandwidth (decode) or of the dot product's peak (prompt)."""
        name, limits = (
            ("weight_bytes", self.bandwidth) if work == "decode" else ("multiply_adds", self.dot_peak)
        )
        # The limit is the best of all measurements: other work on the machine only makes them lower.
        return self.speed("glmq", work) * self.results["glmq"][0][name] / max(limits)


def with_range(ratios: Sequence[float]) -> str:
    """The median of ratios, with their range and a mark where that is wide."""
    middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
    mark = ", unstable" if high - low > STABLE * middle else ""
    return f"{middle:.2f} ({low:.2f} to {high:.2f}{mark})"


def measure(engine: str, path: Path, *options: str, level: str, threads: int = THREADS) -> Result:
    """Prompt and decode speeds of one engine, in a process of its own."""
    command = [sys.executable, str(HERE / "measure.py"), engine, str(path), "--threads", str(threads)]
    done = subprocess.run(
        [*command, *options],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"GLMQ_ISA": level},
    )
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(
    path: Path,
    n_rounds: int,
    *options: str,
    level: str,
    others: Sequence[str] = ("llama.cpp",),
    threads: int = THREADS,
) -> Compared:
    """All engines in turn, the order changing from round to round, after a run that warms up."""
    found = Compared()
    thread_pool = ThreadPool(threads)
    data = np.memmap(path, np.uint8, "r")[:MEASURED_BYTES]
    options = options or ("--repeat", "2", "--decode", "48")
    engines = ["glmq", *others]
    for engine in engines:  # kernels are compiled, and the file comes into the page cache
        measure(engine, path, "--prompt", "8", "--decode", "1", "--repeat", "1", level=level, threads=threads)
    for i in range(n_rounds):
        found.bandwidth.append(read_bandwidth(thread_pool, data))
        found.dot_peak.append(dot_peak(thread_pool))
        for engine in engines[:: 1 if i % 2 else -1]:
            result = measure(engine, path, *options, level=level, threads=threads)
            found.results.setdefault(engine, []).append(result)
    thread_pool.close()
    return found
