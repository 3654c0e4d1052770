"""Measure what docs/numbers.md publishes, glmq and llama.cpp in turn, and write it there.

python bench/compare.py [--pairs 5] [--folder FOLDER]

The folder (default: bench/ in glmq's cache folder) keeps the synthetic models, 6 GB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from glmq_convert.conversion import convert
from glmq_kernels import isa
from glmq_kernels.cache_folder import cache_folder
from synthetic import write_air, write_checkpoint

from glmq import demo

HERE = Path(__file__).parent
NUMBERS = HERE.parent / "docs" / "numbers.md"
THREADS = 2
CONVERTED = ("bf16", "q8_0", "q4_0")


@dataclass(frozen=True)
class Compared:
    """Tokens per second of both engines, in pairs, and bytes per second of plain reading beside each."""

    glmq: list[float]
    llama_cpp: list[float]
    bandwidth: list[float]

    @property
    def ratios(self) -> list[float]:
        """glmq's speed in llama.cpp's, pair by pair."""
        return [ours / theirs for ours, theirs in zip(self.glmq, self.llama_cpp, strict=True)]

    def row(self, name: str) -> str:
        """A line of the table."""
        low, high = min(self.ratios), max(self.ratios)
        return (
            f"| {name} | {statistics.median(self.glmq):.0f} | {statistics.median(self.llama_cpp):.0f}"
            f" | {statistics.median(self.ratios):.2f} ({low:.2f} to {high:.2f}) |"
        )


def measure(engine: str, path: Path) -> dict[str, list[float]]:
    """Prompt and decode speeds of one engine, in a process of its own."""
    command = [sys.executable, str(HERE / "measure.py"), engine, str(path), "--threads", str(THREADS)]
    done = subprocess.run([*command, "--repeat", "2"], check=True, capture_output=True, text=True)
    result: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(path: Path, n_pairs: int) -> dict[str, Compared]:
    """Both engines in turn, the order changing from pair to pair; the better of two runs counts."""
    found: dict[str, dict[str, list[float]]] = {"prompt": {}, "decode": {}}
    bandwidth = []
    for i in range(n_pairs):
        bandwidth.append(read_bandwidth(path))
        for engine in ("glmq", "llama.cpp")[:: 1 if i % 2 else -1]:
            speeds = measure(engine, path)
            for work, by_engine in found.items():
                by_engine.setdefault(engine, []).append(max(speeds[work]))
    return {work: Compared(speeds["glmq"], speeds["llama.cpp"], bandwidth) for work, speeds in found.items()}


def read_bandwidth(path: Path) -> float:
    """Bytes per second at which two threads read the mapped file, the best of five."""
    words = np.memmap(path, np.int64, "r", shape=path.stat().st_size // 8)
    parts = np.array_split(words, THREADS)
    best = 0.0
    with ThreadPoolExecutor(THREADS) as pool:
        for _ in range(5):
            began = time.perf_counter()
            list(pool.map(np.bitwise_or.reduce, parts))
            best = max(best, words.nbytes / (time.perf_counter() - began))
    return best


def first_token_seconds(cache: Path | None = None) -> float:
    """From starting `glmq generate demo` to its end after one token; `cache`: another cache folder."""
    environment = os.environ | ({"GLMQ_CACHE": str(cache)} if cache else {})
    command = [
        sys.executable,
        "-m",
        "glmq",
        "generate",
        str(demo.demo_model_path()),
        "-p",
        "Hello",
        "-n",
        "1",
    ]
    began = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - began


def conversion_speeds(checkpoint: Path, folder: Path, n_pairs: int) -> dict[str, list[float]]:
    """Bytes of the checkpoint per second, of `cp` and of `glmq convert`, in turn, all in the page cache."""
    source = checkpoint / "model.safetensors"
    for what in CONVERTED:  # kernels are compiled here
        convert(checkpoint, folder / "out", what)
    found: dict[str, list[float]] = {}
    for _ in range(n_pairs):
        for what in ("cp", *CONVERTED):
            out = folder / "out"
            out.unlink(missing_ok=True)
            source.read_bytes()
            os.sync()
            began = time.perf_counter()
            if what == "cp":
                subprocess.run(["cp", source, out], check=True)
            else:
                convert(checkpoint, out, what)
            found.setdefault(what, []).append(source.stat().st_size / (time.perf_counter() - began))
            out.unlink()
    return found


def machine() -> str:
    """The machine in one line."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), model)
    return f"{model}, {os.cpu_count()} cores, {isa.current().name}, {platform.system()}"


def report(folder: Path, n_pairs: int) -> str:
    """The whole of docs/numbers.md."""
    import llama_cpp

    from glmq.gguf import open_gguf

    air = write_air(folder / "air-3-layers-Q4_0.gguf")
    demo_path = demo.demo_model_path()
    with open_gguf(air) as file:
        token_bytes = _bytes_per_token(file)
    rows = []
    decode = None
    for name, path in (("Air-shaped, 3 layers, Q4_0", air), ("demo model", demo_path)):
        found = compare(path, n_pairs)
        rows += [found["prompt"].row(f"{name}: prompt of 512"), found["decode"].row(f"{name}: decode")]
        decode = decode or found["decode"]
    assert decode is not None
    bandwidth = statistics.median(decode.bandwidth)
    share = statistics.median(decode.glmq) * token_bytes / bandwidth
    theirs = statistics.median(decode.llama_cpp) * token_bytes / bandwidth
    warm = statistics.median(first_token_seconds() for _ in range(5))
    with tempfile.TemporaryDirectory() as empty:
        cold = first_token_seconds(Path(empty))
    checkpoint = write_checkpoint(folder / "checkpoint")
    checkpoint_bytes = (checkpoint / "model.safetensors").stat().st_size
    speeds = conversion_speeds(checkpoint, folder, n_pairs)
    by_cp = speeds.pop("cp")
    copied = statistics.median(by_cp)
    conversions = [
        f"| {name} | {statistics.median(each) / 1e9:.2f}"
        f" | {statistics.median(ours / cp for ours, cp in zip(each, by_cp, strict=True)):.2f} |"
        for name, each in speeds.items()
    ]
    return f"""# Numbers

Made by `make bench` on {machine()}; {THREADS} threads; Python {platform.python_version()};
llama.cpp as in llama-cpp-python {llama_cpp.__version__}, built on this machine, flash attention on.
Both engines run in turn, each time in a new process; medians of {n_pairs} pairs, ratios with their range.

## Tokens per second

| work | glmq | llama.cpp | ratio |
| --- | --- | --- | --- |
{chr(10).join(rows)}

The Air-shaped file has the widths, heads and experts of GLM-4.5-Air, random weights, and 32768 tokens. A
token of it reads {token_bytes / 1e6:.0f} MB of weights. Two threads that do nothing but read the file reach
{bandwidth / 1e9:.1f} GB/s, so decode is at {share:.0%} of what this memory allows (llama.cpp: {theirs:.0%}),
and no decoder could be more than {1 / theirs:.2f} times as fast as llama.cpp here.

## Starting

| | seconds |
| --- | --- |
| `glmq generate` on the demo model to the end after one token, warm (median of 5) | {warm:.2f} |
| the same with an empty cache folder: kernels are compiled, once | {cold:.1f} |

## Converting

A bfloat16 checkpoint of {checkpoint_bytes / 1e9:.1f} GB in the page cache, in turn with `cp` of the same
file ({copied / 1e9:.2f} GB/s); medians of {n_pairs}.

| to | GB/s of the checkpoint | in speeds of cp |
| --- | --- | --- |
{chr(10).join(conversions)}
"""


def _bytes_per_token(file) -> int:  # type: ignore[no-untyped-def]
    """Bytes of weights that one token's decode reads: everything but the embedding, and 8 of 128 experts."""
    n_used, n_experts = file.integer("glm4moe.expert_used_count"), file.integer("glm4moe.expert_count")
    total = 0
    for name, info in file.tensors.items():
        if name != "token_embd.weight":
            total += info.n_bytes * n_used // n_experts if "_exps." in name else info.n_bytes
    return total


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=cache_folder() / "bench")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(args.folder).free < 12e9:
        raise SystemExit(f"{args.folder} needs 12 GB of free space")
    text = report(args.folder, args.pairs)
    NUMBERS.parent.mkdir(exist_ok=True)
    NUMBERS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
