"""Measure what docs/numbers.md publishes, glmq and llama.cpp in turn, and write it there.

python bench/compare.py [--pairs 3] [--folder FOLDER] [--types Q4_0,Q4_K]

The folder (default: bench/ in glmq's cache folder) holds one synthetic model at a time, of up to 11 GB, and
keeps a checkpoint of 3 GB. Half an hour and more.
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
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from glmq_convert.conversion import convert
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.jit import isa
from glmq_kernels.jit.cache_folder import cache_folder
from glmq_kernels.ops.machine_peak.operation import dot_peak, read_bandwidth
from glmq_kernels.threads.thread_pool import ThreadPool
from synthetic import write_air, write_checkpoint

from glmq.model_file import model_file

HERE = Path(__file__).parent
NUMBERS = HERE.parent / "docs" / "numbers.md"
THREADS = 2
MEASURED_BYTES = 2_000_000_000
TYPES = [name for name in KERNEL_TYPES if name != "F32"] + ["F32"]
CONVERTED = ("bf16", "q8_0", "q4_0")


@dataclass
class Compared:
    """Of one file: both engines' results pair by pair, and what the machine could do beside each pair."""

    glmq: list[dict[str, Any]] = field(default_factory=list)
    llama_cpp: list[dict[str, Any]] = field(default_factory=list)
    bandwidth: list[float] = field(default_factory=list)
    dot_peak: list[float] = field(default_factory=list)

    def ratios(self, work: str) -> list[float]:
        """glmq's speed in llama.cpp's, pair by pair."""
        pairs = zip(self.glmq, self.llama_cpp, strict=True)
        return [max(ours[work]) / max(theirs[work]) for ours, theirs in pairs]

    def cells(self, work: str) -> str:
        """glmq, llama.cpp and the ratio with its range, as cells of a table."""
        ours, theirs = (
            statistics.median(max(each[work]) for each in side) for side in (self.glmq, self.llama_cpp)
        )
        ratios = self.ratios(work)
        low, high = min(ratios), max(ratios)
        return f"{ours:.0f} | {theirs:.0f} | {statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})"

    def share(self, work: str) -> float:
        """glmq's share of the read bandwidth (decode) or of the dot product's peak (prompt)."""
        name, limits = (
            ("weight_bytes", self.bandwidth) if work == "decode" else ("multiply_adds", self.dot_peak)
        )
        # The limit is the best of all measurements: other work on the machine only makes them lower.
        return statistics.median(max(each[work]) * each[name] for each in self.glmq) / max(limits)


def measure(engine: str, path: Path, *options: str, isa_name: str = "") -> dict[str, Any]:
    """Prompt and decode speeds of one engine, in a process of its own."""
    command = [sys.executable, str(HERE / "measure.py"), engine, str(path), "--threads", str(THREADS)]
    environment = os.environ | ({"GLMQ_ISA": isa_name} if isa_name else {})
    done = subprocess.run(
        [*command, *options], check=True, stdout=subprocess.PIPE, text=True, env=environment
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def compare(path: Path, n_pairs: int, *options: str, isa_name: str = "") -> Compared:
    """Both engines in turn, the order changing from pair to pair; the best run of a process counts."""
    found = Compared()
    thread_pool = ThreadPool(THREADS)
    data = np.memmap(path, np.uint8, "r")[:MEASURED_BYTES]
    options = options or ("--repeat", "2", "--decode", "48")
    measure("glmq", path, "--prompt", "8", "--decode", "1", "--repeat", "1", isa_name=isa_name)  # compiles
    for i in range(n_pairs):
        found.bandwidth.append(read_bandwidth(thread_pool, data))
        found.dot_peak.append(dot_peak(thread_pool))
        for engine in ("glmq", "llama.cpp")[:: 1 if i % 2 else -1]:
            if engine == "glmq":
                found.glmq.append(measure(engine, path, *options, isa_name=isa_name))
            else:
                found.llama_cpp.append(measure(engine, path, *options))
    thread_pool.close()
    return found


def first_token_seconds(cache: Path | None = None) -> float:
    """From starting `glmq generate demo` to its end after one token; `cache`: another cache folder."""
    environment = os.environ | ({"GLMQ_CACHE": str(cache)} if cache else {})
    command = [
        sys.executable,
        "-m",
        "glmq",
        "generate",
        str(model_file("demo")),
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


def compare_types(folder: Path, types: Sequence[str], n_pairs: int) -> dict[str, Compared]:
    """Files of all types, each written, measured and removed."""
    found = {}
    for name in types:
        path = folder / f"air-{name}.gguf"
        write_air(path, name, n_layers=layers_of(name))
        os.sync()  # writing back would take memory's bandwidth
        found[name] = compare(path, n_pairs)
        path.unlink()
        print(
            f"{name}: prompt {found[name].cells('prompt')}, decode {found[name].cells('decode')}", flush=True
        )
    return found


def layers_of(type_name: str) -> int:
    """Three, or two where three would be too large for the memory of small machines."""
    return 2 if type_name in ("F16", "BF16", "F32") else 3


def type_table(found: dict[str, Compared]) -> str:
    """A row for each type."""
    rows = []
    for name, compared in found.items():
        cells = [f"{compared.cells(work)} | {compared.share(work):.0%}" for work in ("prompt", "decode")]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


def report(folder: Path, n_pairs: int, types: Sequence[str]) -> str:
    """The whole of docs/numbers.md."""
    import llama_cpp

    by_type = compare_types(folder, types, n_pairs)
    demo_path = model_file("demo")
    small = compare(demo_path, n_pairs)
    air = write_air(folder / "air-Q4_0.gguf", "Q4_0")
    deep = compare(air, 1, "--depth", "16384", "--prompt", "0", "--decode", "32", "--repeat", "3")
    narrow = compare(air, n_pairs, isa_name="avx2") if "avx2" in isa.levels() else None
    air.unlink()
    bandwidth = statistics.median(each for c in by_type.values() for each in c.bandwidth)
    peak = statistics.median(each for c in by_type.values() for each in c.dot_peak)
    warm = statistics.median(first_token_seconds() for _ in range(5))
    with tempfile.TemporaryDirectory() as empty:
        cold = first_token_seconds(Path(empty))
    cold_mix, warm_mix = mixed_start_seconds(folder)
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
    others = [
        f"| demo model with int8 activations: prompt of 512 | {small.cells('prompt')} |",
        f"| the same: decode | {small.cells('decode')} |",
        f"| Q4_0: decode after 16384 tokens, float16 cache | {deep.cells('decode')} |",
    ]
    if narrow:
        others += [
            f"| Q4_0 with `GLMQ_ISA=avx2`, llama.cpp as it is: prompt of 512 | {narrow.cells('prompt')} |",
            f"| the same: decode | {narrow.cells('decode')} |",
        ]
    return f"""# Numbers

Made by `make bench` on {machine()}; {THREADS} threads; Python {platform.python_version()};
llama.cpp as in llama-cpp-python {llama_cpp.__version__}, built on this machine, flash attention on.
Both engines run in turn, each time in a new process; medians of {n_pairs} pairs, ratios with their range.

## Every tensor type

Files with the widths, heads and experts of GLM-4.5-Air, three layers (F16, BF16 and F32: two), random weights
and 32768 tokens. Where a row does not divide into blocks of 256, as in Air's down matrices, the file holds
the type that llama.cpp's quantizer chooses instead. Tokens per second.

Shares: of the {peak / 1e9:.0f} G int8 multiply-adds per second that two threads do with everything in
registers, and of the {bandwidth / 1e9:.1f} GB/s at which they read the mapped file.

| type | prompt of 512 | llama.cpp | ratio | of the peak | decode | llama.cpp | ratio | of reading |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
{type_table(by_type)}

## Other work

| work | glmq | llama.cpp | ratio |
| --- | --- | --- | --- |
{chr(10).join(others)}

## Starting

| | seconds |
| --- | --- |
| `glmq generate` on the demo model to the end after one token, warm (median of 5) | {warm:.2f} |
| the same with an empty cache folder: kernels are compiled, once | {cold:.1f} |
| loading an Air-shaped Q4_K_M file and reading eight tokens, warm | {warm_mix:.2f} |
| the same with an empty cache folder | {cold_mix:.1f} |

## Converting

A bfloat16 checkpoint of {checkpoint_bytes / 1e9:.1f} GB in the page cache, in turn with `cp` of the same
file ({copied / 1e9:.2f} GB/s); medians of {n_pairs}.

| to | GB/s of the checkpoint | in speeds of cp |
| --- | --- | --- |
{chr(10).join(conversions)}
"""


def mixed_start_seconds(folder: Path) -> tuple[float, float]:
    """To load a Q4_K_M file and read eight tokens: with an empty cache folder, and again."""
    path = write_air(folder / "air-Q4_K_M.gguf", "Q4_K_M")
    seconds = []
    with tempfile.TemporaryDirectory() as empty:
        command = [sys.executable, str(HERE / "measure.py"), "glmq", str(path)]
        command += ["--prompt", "8", "--decode", "1", "--repeat", "1"]
        for _ in range(2):
            began = time.perf_counter()
            environment = os.environ | {"GLMQ_CACHE": empty}
            subprocess.run(command, check=True, capture_output=True, env=environment)
            seconds.append(time.perf_counter() - began)
    path.unlink()
    return seconds[0], seconds[1]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=cache_folder() / "bench")
    parser.add_argument("--types", default=",".join(TYPES), help="tensor types, with commas between them")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(args.folder).free < 20e9:
        raise SystemExit(f"{args.folder} needs 20 GB of free space")
    text = report(args.folder, args.pairs, args.types.split(","))
    NUMBERS.parent.mkdir(exist_ok=True)
    NUMBERS.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
