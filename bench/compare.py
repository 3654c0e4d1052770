"""Measure glmq beside llama.cpp, in turn, and write the tables into docs/numbers.md.

python bench/compare.py [types] [peers] [other] [starting] [converting] [--pairs 5] [--types Q4_0,Q4_K]
                        [--isa avx2] [--folder FOLDER]

types: every tensor type, beside llama.cpp built for the same instructions. peers: Q4_0 and Q4_K_M beside what
pip and npm install without a compiler, also with one thread and with a busy core. The folder (default: bench/
in glmq's cache folder) holds one synthetic model at a time, of up to 11 GB, and keeps a checkpoint of 3 GB.
All of it takes some hours. `python bench/peers.py` makes the builds of llama.cpp before.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from glmq_convert.conversion import convert
from glmq_kernels.formats.tensor_types import KERNEL_TYPES
from glmq_kernels.jit import isa
from glmq_kernels.jit.cache_folder import cache_folder
from numbers_page import machine, write_part
from pairs import HERE, Compared, compare, with_range
from peers import for_level, version
from synthetic import write_air, write_checkpoint

from glmq.model_file import model_file

TYPES = [name for name in KERNEL_TYPES if name != "F32"] + ["F32"]
CONVERTED = ("bf16", "q8_0", "q4_0")
INSTALLED = ("xllamacpp", "node-llama-cpp")
"""What a user can have without a compiler."""


def air_file(folder: Path, type_name: str) -> Path:
    """A file of the shape of Air: three layers, or two where three would be too large for small machines."""
    path = folder / f"air-{type_name}.gguf"
    return write_air(path, type_name, n_layers=2 if type_name in ("F16", "BF16", "F32") else 3)


def write_types(args: argparse.Namespace) -> None:
    """Files of all types, each written, measured and removed."""
    rows, all_of_them = [], []
    for name in args.types:
        path = air_file(args.folder, name)
        os.sync()  # writing back would take memory's bandwidth
        found = compare(path, args.pairs, level=args.isa)
        path.unlink()
        cells = [
            f"{found.cells('llama.cpp', work)} | {found.share(work):.0%}" for work in ("prompt", "decode")
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
        all_of_them.append(found)
        print(rows[-1], flush=True)
    peak = max(each for found in all_of_them for each in found.dot_peak)
    bandwidth = max(each for found in all_of_them for each in found.bandwidth)
    write_part(
        "Every tensor type",
        machine(args.isa),
        f"""`python bench/compare.py types`, {args.pairs} pairs a type; llama.cpp of
{version(for_level(args.isa))}, built for {args.isa}. Two threads multiply {peak / 1e9:.0f} G int8 per second
and read {bandwidth / 1e9:.1f} GB/s.

| type | prompt of 512 | llama.cpp | ratio | of the peak | decode | llama.cpp | ratio | of reading |
| --- | --- | --- | --- | --- | --- | --- | --- | --- |
"""
        + "\n".join(rows),
    )


def write_peers(args: argparse.Namespace) -> None:
    """The engines that pip and npm install, with two threads, with one, and beside a busy core."""
    rows = []
    for name in ("Q4_0", "Q4_K_M"):
        path = air_file(args.folder, name)
        two = compare(path, args.pairs, level=args.isa, others=INSTALLED)
        one = compare(path, args.pairs, level=args.isa, others=INSTALLED, threads=1)
        for work, threads, found in (("prompt", 2, two), ("decode", 2, two), ("decode", 1, one)):
            rows.append(_peer_row(f"{name}: {work}, {threads} threads", work, found))
        busy = {engine: _busy(engine, path, args.pairs) for engine in ("glmq", *INSTALLED)}
        cells = " | ".join(
            f"{busy[engine]['busy']:.1f} | {busy['glmq']['busy'] / busy[engine]['busy']:.1f}"
            for engine in INSTALLED
        )
        rows.append(f"| {name}: decode, 2 threads, one core busy | {busy['glmq']['busy']:.1f} | {cells} |")
        path.unlink()
    write_part(
        "Beside what pip and npm install",
        machine(args.isa),
        f"""`python bench/compare.py peers`, {args.pairs} rounds.

| work | glmq | xllamacpp | ratio | node-llama-cpp | ratio |
| --- | --- | --- | --- | --- | --- |
"""
        + "\n".join(rows),
    )


def _peer_row(what: str, work: str, found: Compared) -> str:
    cells = (f"{found.speed(engine, work):.1f} | {found.ratio(engine, work)}" for engine in INSTALLED)
    return f"| {what} | {found.speed('glmq', work):.1f} | {' | '.join(cells)} |"


def _busy(engine: str, path: Path, n_rounds: int) -> dict[str, float]:
    """Decode speeds of an engine, alone and beside another program (`busy_core.py`)."""
    command = [sys.executable, str(HERE / "busy_core.py"), engine, str(path), "--rounds", str(n_rounds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_other(args: argparse.Namespace) -> None:
    """The demo model, and decoding at depth."""
    small = compare(model_file("demo"), args.pairs, level=args.isa)
    air = air_file(args.folder, "Q4_0")
    deep = compare(
        air,
        args.pairs,
        "--depth",
        "16384",
        "--prompt",
        "0",
        "--decode",
        "32",
        "--repeat",
        "1",
        level=args.isa,
    )
    air.unlink()
    write_part(
        "Other work",
        machine(args.isa),
        f"""`python bench/compare.py other`, {args.pairs} pairs.

| work | glmq | llama.cpp | ratio |
| --- | --- | --- | --- |
| demo model with int8 activations: prompt of 512 | {small.cells("llama.cpp", "prompt")} |
| the same: decode | {small.cells("llama.cpp", "decode")} |
| Q4_0: decode after 16384 tokens, float16 cache | {deep.cells("llama.cpp", "decode")} |""",
    )


def first_token_seconds(cache: Path | None = None) -> float:
    """From starting `glmq generate demo` to its end after one token; `cache`: another cache folder."""
    environment = os.environ | ({"GLMQ_CACHE": str(cache)} if cache else {})
    command = [sys.executable, "-m", "glmq", "generate", str(model_file("demo"))]
    began = time.perf_counter()
    subprocess.run([*command, "-p", "Hello", "-n", "1"], check=True, capture_output=True, env=environment)
    return time.perf_counter() - began


def mixed_start_seconds(folder: Path) -> tuple[float, float]:
    """To load a Q4_K_M file and read eight tokens: with an empty cache folder, and again."""
    path = air_file(folder, "Q4_K_M")
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


def write_starting(args: argparse.Namespace) -> None:
    """From the command to the first token, with and without compiled kernels."""
    warm = statistics.median(first_token_seconds() for _ in range(5))
    with tempfile.TemporaryDirectory() as empty:
        cold = first_token_seconds(Path(empty))
    cold_mix, warm_mix = mixed_start_seconds(args.folder)
    write_part(
        "Starting",
        machine(args.isa),
        f"""`python bench/compare.py starting`

| | seconds |
| --- | --- |
| `glmq generate` on the demo model to the end after one token, warm (median of 5) | {warm:.2f} |
| the same with an empty cache folder: kernels are compiled, once | {cold:.1f} |
| loading an Air-shaped Q4_K_M file and reading eight tokens, warm | {warm_mix:.2f} |
| the same with an empty cache folder | {cold_mix:.1f} |""",
    )


def conversion_speeds(checkpoint: Path, folder: Path, n_pairs: int) -> dict[str, list[float]]:
    """Bytes of the checkpoint per second, of `cp` and of `glmq convert`, in turn, all in the page cache."""
    source = checkpoint / "model.safetensors"
    for what in CONVERTED:  # kernels are compiled here
        convert(checkpoint, folder / "out", what, force=True)
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


def write_converting(args: argparse.Namespace) -> None:
    """Conversion beside `cp`."""
    checkpoint = write_checkpoint(args.folder / "checkpoint")
    speeds = conversion_speeds(checkpoint, args.folder, args.pairs)
    by_cp = speeds.pop("cp")
    rows = [
        f"| {name} | {statistics.median(each) / 1e9:.2f}"
        f" | {with_range([ours / cp for ours, cp in zip(each, by_cp, strict=True)])} |"
        for name, each in speeds.items()
    ]
    n_bytes = (checkpoint / "model.safetensors").stat().st_size
    write_part(
        "Converting",
        machine(args.isa),
        f"""`python bench/compare.py converting`: a bfloat16 checkpoint of {n_bytes / 1e9:.1f} GB in the page
cache, in turn with `cp` of the same file ({statistics.median(by_cp) / 1e9:.2f} GB/s); {args.pairs} rounds.

| to | GB/s of the checkpoint | in speeds of cp |
| --- | --- | --- |
"""
        + "\n".join(rows),
    )


SECTIONS: dict[str, Callable[[argparse.Namespace], None]] = {
    "types": write_types,
    "peers": write_peers,
    "other": write_other,
    "starting": write_starting,
    "converting": write_converting,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sections", nargs="*", choices=(*SECTIONS, []), metavar="SECTION")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=cache_folder() / "bench")
    parser.add_argument("--types", default=",".join(TYPES), help="tensor types, with commas between them")
    parser.add_argument(
        "--isa", choices=isa.levels(), help="instructions to use (default: the best, and for types AVX2 too)"
    )
    args = parser.parse_args(arguments)
    args.types = args.types.split(",")
    args.folder.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(args.folder).free < 20e9:
        raise SystemExit(f"{args.folder} needs 20 GB of free space")
    sections, best = args.sections or list(SECTIONS), args.isa or isa.current().name
    runs = [(name, best) for name in sections]
    if not args.isa and best != "avx2" and "avx2" in isa.levels() and "types" in sections:
        runs.append(("types", "avx2"))
    for name, level in runs:
        args.isa = os.environ["GLMQ_ISA"] = level
        SECTIONS[name](args)


if __name__ == "__main__":
    main()
