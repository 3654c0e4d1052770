"""Speed and error of quantizing beside llama.cpp's quantizer, for every tensor type.

python bench/quantizing.py [--threads 2] [--rounds 5] [--weights 2097152] [--tensor FILE.gguf:NAME] [TYPE ...]

Both quantize the same rows of float32, with importance and without, on the same number of threads, which
share the rows; llama.cpp's function is called in the library of the wheel `xllamacpp`. The two take turns.
Prints a table: millions of weights a second, the median of the rounds and the range between them; how many
times as fast; and the weighted squared error as a part of llama.cpp's. The weights are those of a tensor, or
random with tails.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import gguf
import numpy as np
from ggml_quantize import quantized
from glmq_kernels.formats.quantize import NEEDS_IMPORTANCE, TARGET_TYPES, quantize_rows
from glmq_kernels.formats.quantizers.table import QUANTIZERS

COLUMNS = 4096
FLOATS = ("F32", "F16", "BF16")
SHORTEST = 0.1
"""Seconds: what takes less is repeated."""

Quantize = Callable[[np.ndarray, str, np.ndarray | None], np.ndarray]


def glmq(rows: np.ndarray, type_name: str, importance: np.ndarray | None) -> np.ndarray:
    """As the converter does."""
    return quantize_rows(rows, type_name, importance=importance)


ENGINES: dict[str, Quantize] = {"glmq": glmq, "llama.cpp": quantized}


def sample(source: str | None, n_weights: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of weights, and the importance of their columns."""
    rng = np.random.default_rng(0)
    if source:
        path, _, name = source.rpartition(":")
        [tensor] = [each for each in gguf.GGUFReader(path).tensors if each.name == name]
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type)
        rows = values.reshape(-1, values.shape[-1])[: max(n_weights // values.shape[-1], 1)]
    else:
        rows = rng.standard_t(6, (n_weights // COLUMNS, COLUMNS)) * 0.02
    importance = rng.gamma(0.5, 1, rows.shape[1]).astype(np.float32)
    return np.ascontiguousarray(rows, np.float32), importance


def error(rows: np.ndarray, found: np.ndarray, type_name: str, importance: np.ndarray | None) -> float:
    """Σ q (x - y)²."""
    values = gguf.quants.dequantize(found, gguf.GGMLQuantizationType[type_name])
    squares = (values.astype(np.float64) - rows) ** 2
    return float((squares if importance is None else squares * importance).sum())


def seconds(pool: ThreadPoolExecutor, parts: list[np.ndarray], repetitions: int, call: Callable) -> float:
    """How long the threads take for all parts, once."""
    began = time.perf_counter()
    for _ in range(repetitions):
        list(pool.map(call, parts))
    return (time.perf_counter() - began) / repetitions


def measure(
    pool: ThreadPoolExecutor, args: argparse.Namespace, rows: np.ndarray, name: str, q: np.ndarray | None
) -> str:
    """A line of the table."""
    parts = np.array_split(rows, args.threads)
    found = {engine: call(rows, name, q) for engine, call in ENGINES.items()}
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    repetitions = dict.fromkeys(ENGINES, 1)
    for i in range(args.rounds + 1):
        for engine, call in ENGINES.items():
            taken = seconds(pool, parts, repetitions[engine], lambda part, call=call: call(part, name, q))
            if i:
                times[engine].append(rows.size / taken / 1e6)
            else:
                repetitions[engine] = max(1, round(SHORTEST / taken))
    errors = {engine: error(rows, found[engine], name, q) for engine in ENGINES}
    same = (found["glmq"] == found["llama.cpp"]).all(axis=1).mean()
    speeds = [f"{statistics.median(t):.1f} ({min(t):.1f} to {max(t):.1f})" for t in times.values()]
    ratio = statistics.median(times["glmq"]) / statistics.median(times["llama.cpp"])
    kind = "without" if q is None else "with"
    part = errors["glmq"] / errors["llama.cpp"] if errors["llama.cpp"] else 1.0
    return f"| {name} | {kind} | {' | '.join(speeds)} | {ratio:.1f} | {part:.4f} | {same:.1%} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("types", nargs="*", default=[name for name in TARGET_TYPES if name not in FLOATS])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--weights", type=int, default=2 << 20)
    parser.add_argument("--tensor", help="a tensor of a file whose weights to take")
    args = parser.parse_args()
    rows, importance = sample(args.tensor, args.weights)
    print("| type | importance | glmq, M weights/s | llama.cpp | times | error | rows the same |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with ThreadPoolExecutor(args.threads) as pool:
        for name in args.types:
            if name not in NEEDS_IMPORTANCE:
                print(measure(pool, args, rows, name, None), flush=True)
            if QUANTIZERS[name].uses_importance:
                print(measure(pool, args, rows, name, importance), flush=True)


if __name__ == "__main__":
    main()
