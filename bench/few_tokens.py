"""What a few tokens cost in the row form: whole steps of a model, or 256 weights by themselves.

python bench/few_tokens.py [Q4_0 Q4_K Q8_0 ...]
python bench/few_tokens.py --steps FILE [--threads 2] [--rounds 5]

Types: nanoseconds of one thread for 256 weights in its second cache with 1, 2, 4 and 8 tokens, and the line
through them: a fixed part, to unpack them, and one for each token. What a type can be transcoded to is
measured after it.

--steps: milliseconds of whole steps of a file, with weights from memory. "The same": all tokens are one token
at one position, each in a sequence of its own, so that they meet the same experts as one alone. "A draft":
different tokens of one sequence, which meet more of them.
"""

from __future__ import annotations

import argparse
import ctypes
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of, zeros
from glmq_kernels.formats.tensor_types import MATRIX_TYPES, TRANSCODED_TYPES
from glmq_kernels.gemm.sizes import ROW_SCRATCH_BYTES, ROW_TOKENS, ROWS
from glmq_kernels.jit.store import kernel
from glmq_kernels.ops.operands import Activation
from glmq_kernels.threads.thread_pool import ThreadPool

import glmq
from glmq.batch import SequencePart
from glmq.kv_cache.sequence import Sequence as TokenSequence

COLUMNS = 4096
SIZES = (1, 2, 4, 8)
CALLS = 400
TRIES = 9
UNITS = ROWS * COLUMNS // 256

STEP_SIZES = (1, 2, 3, 4, 8)
STEPS = 8
PREFIX = 64


def nanoseconds(type_name: str, n_tokens: int) -> float:
    """Of 256 weights with so many tokens, the best of several tries, less what a call from Python costs."""
    activation = Activation(ROW_TOKENS, COLUMNS, 2)
    activation.serve(type_name)
    row_bytes = MATRIX_TYPES[type_name].row_bytes(COLUMNS)
    weights = copy_of(np.random.default_rng(0).integers(0, 100, ROWS * row_bytes), np.uint8)
    numbers, out = copy_of(range(ROW_TOKENS), np.int64), zeros((ROW_TOKENS, ROWS), np.float32)
    scratch = aligned_zeros(ROW_SCRATCH_BYTES)
    code = kernel(f"gemm.gemv.dot_rows:{type_name}")
    call = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 8)(code.address)

    def best_call(n_rows: int) -> float:
        arguments = (
            address_of(weights), row_bytes, n_rows, activation.address, address_of(numbers), n_tokens,
            address_of(out), address_of(scratch),
        )  # fmt: skip
        best = float("inf")
        for _ in range(TRIES):
            began = time.thread_time_ns()
            for _ in range(CALLS):
                call(*arguments)
            best = min(best, (time.thread_time_ns() - began) / CALLS)
        return best

    return (best_call(ROWS) - best_call(0)) / UNITS


def _transcoded(type_name: str) -> list[str]:
    return [TRANSCODED_TYPES[type_name].name] if type_name in TRANSCODED_TYPES else []


def print_types(names: Sequence[str]) -> None:
    """Print a row for each type."""
    print(f"| type | {' | '.join(map(str, SIZES))} | fixed | each token |\n|{' --- |' * 7}")
    for type_name in (name for one in names for name in (one, *_transcoded(one))):
        found = [nanoseconds(type_name, n) for n in SIZES]
        each, fixed = np.polyfit(SIZES, found, 1)
        cells = " | ".join(f"{value:.1f}" for value in (*found, fixed, each))
        print(f"| {type_name} | {cells} |", flush=True)


class ModelSteps:
    """Steps of a model behind a prefix that several sequences share; each overwrites the one before it."""

    def __init__(self, model: glmq.Model) -> None:
        self._program, self._pool = model._program, ThreadPool(model.n_threads)
        self._draw = np.random.default_rng(0).integers
        self._n_vocab = model.n_vocab
        prefix = TokenSequence(model._engine.prefix_tree)
        tokens = self._tokens(PREFIX)
        prefix.reserve(PREFIX)
        part = SequencePart(tokens, 0, prefix.page_table, 0, False)
        self._program.run(self._pool, [part], zeros((0, self._n_vocab), np.float32))
        prefix.extend(tokens.tolist())
        self._sequences = [prefix.fork() for _ in range(max(STEP_SIZES))]
        for sequence in self._sequences:
            sequence.reserve(max(STEP_SIZES))

    def _tokens(self, n: int) -> np.ndarray:
        return self._draw(0, self._n_vocab, n)

    def the_same(self, n: int) -> list[SequencePart]:
        """One random token in n sequences."""
        tokens = self._tokens(1)
        return [
            SequencePart(tokens, PREFIX, each.page_table, 1, in_rows=True) for each in self._sequences[:n]
        ]

    def a_draft(self, n: int) -> list[SequencePart]:
        """Random tokens of one sequence, each with an output."""
        return [SequencePart(self._tokens(n), PREFIX, self._sequences[0].page_table, n, in_rows=True)]

    def run(self, parts: Sequence[SequencePart]) -> tuple[float, float]:
        """Seconds of a step, and its bytes of weights in proportion to those of a step of one token."""
        logits = zeros((sum(part.n_outputs for part in parts), self._n_vocab), np.float32)
        began = time.perf_counter()
        self._program.run(self._pool, parts, logits)
        return time.perf_counter() - began, self._bytes_in_proportion(parts, logits)

    def _bytes_in_proportion(self, parts: Sequence[SequencePart], logits: np.ndarray) -> float:
        """From the experts that the step meets, which it is run again for."""
        n_met: list[int] = []
        program, work = self._program, self._program.tape.work
        program.on_routing = lambda layer, places: n_met.append(
            len(np.unique(layer.routing.chosen[: len(places)]))
        )
        program.run(self._pool, parts, logits)
        program.on_routing = None
        of_expert = sum(each.n_bytes for each in work.products if each.routed) / len(n_met)
        more = sum(n - layer.routing.top_k for n, layer in zip(n_met, program.expert_layers, strict=True))
        return 1 + more * of_expert / (work.weight_bytes + work.output_bytes)

    def close(self) -> None:
        """End the threads, and give the pages back."""
        self._pool.close()
        for sequence in self._sequences:
            sequence.release(publish=False)


def print_steps(path: str, n_threads: int, rounds: int) -> None:
    """Print a row for each number of tokens: medians of steps of all sizes in turn."""
    with glmq.load(path, n_ctx=1024, n_threads=n_threads, activations="int8", ram="100G") as model:
        steps = ModelSteps(model)
        kinds: tuple[Callable[[int], list[SequencePart]], ...] = (steps.the_same, steps.a_draft)
        found: dict[tuple[int, int], list[tuple[float, float]]] = {}
        for _ in range(rounds):
            for _ in range(STEPS):
                for n in STEP_SIZES:
                    for i, kind in enumerate(kinds):
                        found.setdefault((i, n), []).append(steps.run(kind(n)))
        steps.close()
    print("| tokens | the same, ms | times one | a draft, ms | times one | bytes | time by bytes |")
    print(f"|{' --- |' * 7}")
    medians = {key: np.median(values, axis=0) for key, values in found.items()}
    one = statistics.median(seconds for i in (0, 1) for seconds, _ in found[i, 1])
    for n in STEP_SIZES:
        (same, _), (draft, n_bytes) = medians[0, n], medians[1, n]
        print(
            f"| {n} | {same * 1e3:.1f} | {same / one:.2f} | {draft * 1e3:.1f} | {draft / one:.2f}"
            f" | {n_bytes:.2f} | {draft / one / n_bytes:.2f} |",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("types", nargs="*", default=["Q4_0", "Q4_K", "Q8_0"], metavar="TYPE")
    parser.add_argument("--steps", metavar="FILE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    if args.steps:
        print_steps(args.steps, args.threads, args.rounds)
    else:
        print_types(args.types)


if __name__ == "__main__":
    main()
