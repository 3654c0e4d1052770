"""Measure models larger than memory, glmq and llama.cpp in turn under the same limit, and write it down.

python bench/larger_than_memory.py [--folder FOLDER] [--layers 10] [--runs 2]

Needs Linux, root (a control group limits memory), the folder 13 GB of disk. Half an hour.
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from control_group import run_limited
from glmq_kernels.cache_folder import cache_folder
from glmq_kernels.memory import address_of
from glmq_kernels.reader import DirectFile, Part, Reader, Request, aligned_memory, room_for
from synthetic import write_air

from glmq.gguf import open_gguf

HERE = Path(__file__).parent
REPORT = HERE.parent / "docs" / "larger-than-memory.md"
TIMES_THE_LIMIT = (3.0, 1.5, 1.1)
IN_FLIGHT = 24


def direct_read_speeds(path: Path, n_reads: int = 500) -> tuple[float, float]:
    """Bytes per second of direct reads of single experts' matrices at random, many in flight.

    The second figure is of the same reads again: a virtual machine's disk may be in its host's memory.
    """
    with open_gguf(path) as file:
        stacked = [t for name, t in file.tensors.items() if re.search(r"ffn_(gate|up|down)_exps", name)]
    size = stacked[0].n_bytes // stacked[0].shape[0]
    rng, direct = np.random.default_rng(time.time_ns()), DirectFile(path)
    memory = aligned_memory(IN_FLIGHT * room_for(size))
    memory[:] = 1  # the system gives memory when it is first written to
    parts = []
    for i in range(n_reads):
        tensor = stacked[rng.integers(len(stacked))]
        part = Part(direct, tensor.offset + int(rng.integers(tensor.shape[0])) * size, size)
        parts.append((part, address_of(memory) + i % IN_FLIGHT * room_for(size)))
    reader = Reader()
    first, again = _speed(reader, parts), _speed(reader, parts)
    reader.close()
    direct.close()
    return first, again


def _speed(reader: Reader, parts: list[tuple[Part, int]]) -> float:
    began = time.perf_counter()
    asked: list[Request] = []
    for i, part in enumerate(parts):
        if i >= IN_FLIGHT:
            reader.await_result(asked[i - IN_FLIGHT])
        asked += reader.post([part])
    for request in asked:
        reader.await_result(request)
    speed = sum(part.n_bytes for part, _ in parts) / (time.perf_counter() - began)
    for request in asked:
        assert reader.result(request) == request.part.n_bytes
        reader.release(request)
    return speed


def measure(engine: str, path: Path, limit: int, decode: int, *options: str) -> dict[str, Any] | None:
    """Speeds in a process that may use `limit` bytes; None when it was killed."""
    command = [sys.executable, str(HERE / "measure.py"), engine, str(path), "--threads", "2", "--repeat", "1"]
    done = run_limited([*command, "--decode", str(decode), *options], limit)
    if done.returncode:
        return None
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def disk_share(result: dict[str, Any], work: str, n_tokens: int, disk: float) -> float:
    """Share of the disk's speed at which the experts that were missing were read, over the whole time."""
    seconds = n_tokens / result[work][0]
    return float(result["bytes_read"][work][0] / seconds / disk)


def rows_of(path: Path, times: float, n_runs: int, decode: int) -> list[str]:
    """The table's rows for one limit, and what is printed meanwhile."""
    limit = int(path.stat().st_size / times)
    found: dict[str, list[Any]] = {"glmq": [], "llama.cpp": [], "disk": []}
    for i in range(n_runs):
        for engine in ("glmq", "llama.cpp")[:: 1 if i % 2 else -1]:
            options = ("--mapped",) if engine == "llama.cpp" else ()
            if engine == "glmq":
                found["disk"].append(direct_read_speeds(path))
            found[engine].append(measure(engine, path, limit, decode, *options))
            print(times, engine, found[engine][-1], found["disk"][-1:], flush=True)
    rows = []
    for work, n_tokens in (("prompt", 512), ("decode", decode)):
        ours = statistics.median(each[work][0] for each in found["glmq"])
        theirs = [each[work][0] for each in found["llama.cpp"] if each]
        shares = [
            disk_share(each, work, n_tokens, max(disk))
            for each, disk in zip(found["glmq"], found["disk"], strict=True)
        ]
        read = statistics.median(each["bytes_read"][work][0] for each in found["glmq"])
        per = read / (n_tokens if work == "decode" else 1)
        cells = [f"{times} × the limit", work, f"{ours:.2f}"]
        cells += (
            [f"{statistics.median(theirs):.2f}", f"{ours / statistics.median(theirs):.1f}"]
            if theirs
            else ["killed", ""]
        )
        cells += [f"{per / 1e9:.2f} GB", f"{statistics.median(shares):.0%}"]
        peak = max(each["peak_memory"] for each in found["glmq"])
        cells += [f"{peak / limit:.0%}"]
        rows.append(f"| {' | '.join(cells)} |")
        print(rows[-1], flush=True)
    return rows


HEADERS = (
    "model",
    "work",
    "glmq",
    "llama.cpp",
    "ratio",
    "read",
    "of the disk's speed",
    "peak memory of the limit",
)


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
    first, again = direct_read_speeds(path)
    rows = [
        row for times in args.times.split(",") for row in rows_of(path, float(times), args.runs, args.decode)
    ]
    table = "\n".join(
        ["| " + " | ".join(HEADERS) + " |", "| " + " | ".join("---" for _ in HEADERS) + " |", *rows]
    )
    REPORT.write_text(
        f"""# Models larger than memory, measured

Made by `make bench-disk`: a Q4_0 file of {path.stat().st_size / 1e9:.1f} GB with the widths and experts of
GLM-4.5-Air, {args.layers} layers and random weights, in a control group that limits memory, the file cache
included; two threads. Direct reads of single matrices at random: {first / 1e9:.2f} GB/s, the same ones again
{again / 1e9:.2f} GB/s (in the memory of the virtual machine's host). llama.cpp maps the file and does not
rearrange its weights. Prompts have 512 random tokens; answers {args.decode}, also random, so that experts
are chosen about evenly: real texts use some experts more than others, and more of them are found in memory.
Tokens per second, medians of {args.runs} runs in turn.

{table}

Read: from disk, for the whole prompt, or for each token of an answer. Of the disk's speed: that, per second
of the whole time, in the faster of the two speeds measured just before with nothing else going on.
"""
    )
    print(REPORT.read_text())


if __name__ == "__main__":
    main()
