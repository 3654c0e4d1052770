"""Predict how a file's speed grows with cores, from what its operations cost on one thread of this machine.

python bench/scaling.py FILE [--prompt 512] [--depth 512] [--rounds 5]

Each operation of the tape is timed on one thread. On N threads it takes as long as the thread with the most
units of its work, or as its weights take to come from memory. To that come the barriers, and the counter from
which threads take units: whoever adds to a cache line that another core had waits for it (HANDOVER).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from glmq_kernels.arrays import address_of, zeros
from glmq_kernels.gemm.sizes import ROWS, few
from glmq_kernels.ops.attention.plan import AttentionPlanner, Segment
from glmq_kernels.ops.batch_state import LOGITS
from glmq_kernels.ops.feed_forward.arguments import Down, GateUp
from glmq_kernels.ops.matmul.arguments import Matmul, MatmulMatrix
from glmq_kernels.threads.argument_record import FIRST, UNLESS_ONE
from glmq_kernels.threads.thread_pool import ThreadPool
from glmq_kernels.threads.work_units import rows_of_unit

import glmq

HANDOVER = 60e-9
"""Seconds in which a cache line goes from one core to another of a socket."""

MACHINES = ((8, 70e9), (16, 70e9), (16, 150e9), (64, 350e9))
"""Cores, and bytes per second that they read from memory: two channels of DDR5, twice, four and twelve."""

EVERY_THREAD = ("norm.kernel.rms", "routing.kernel.top_k", "attention.kernel.finish", "gather_tiles")
"""Of a run of one token, worked out by every thread for itself."""

ONE_THREAD = "routing.kernel.dispatch"


@dataclass(frozen=True)
class Operation:
    """One of a tape. seconds: on one thread. n_bytes: of weights that it reads. waits: a barrier follows."""

    name: str
    values: tuple[int, ...]
    seconds: float
    n_bytes: float
    waits: bool


def timed(model: glmq.Model, n_tokens: int, depth: int, rounds: int) -> list[Operation]:
    """The operations of a run of so many tokens behind `depth` others."""
    session, tape = model.session(), model._program.tape
    if depth:
        session.evaluate([token % model.n_vocab for token in range(depth)])
    session.evaluate([token % model.n_vocab for token in range(n_tokens)])
    logits = zeros((1, model.n_vocab), np.float32)
    tape.state[LOGITS] = address_of(logits)
    thread_pool, seconds = ThreadPool(1), np.full(model.n_operations, np.inf)
    for _ in range(rounds):
        for i in range(model.n_operations):
            operations = tape._excerpt(i, i + 1)
            began = time.perf_counter()
            thread_pool.run(operations)
            seconds[i] = min(seconds[i], time.perf_counter() - began)
    nothing = np.zeros((0, 3), np.int64)
    overhead = min(_seconds_of(thread_pool, nothing) for _ in range(100))
    thread_pool.close()
    found = []
    for step, each, n_bytes in zip(tape._steps, seconds, bytes_of_products(model), strict=True):
        name, values, code = step
        waits = code == 1 or (code > 1 and tape.state[code - UNLESS_ONE] != 1)
        found.append(Operation(name, values, max(each - overhead, 0.0), n_bytes, waits))
    return found


def bytes_of_products(model: glmq.Model) -> list[int]:
    """Of weights that each operation of the tape reads for one token."""
    tape = model._program.tape
    products = iter(tape.work.products)
    return [
        sum(
            product.n_choices * product.n_bytes
            for _, product in zip(_reads(name, values), products, strict=False)
        )
        for name, values, _ in tape._steps
    ]


def _seconds_of(thread_pool: ThreadPool, operations: np.ndarray) -> float:
    began = time.perf_counter()
    thread_pool.run(operations)
    return time.perf_counter() - began


def _reads(name: str, values: tuple[int, ...]) -> range:
    """As many as the operation has products."""
    if name.endswith("matmul"):
        return range(values[Matmul.N_MATRICES - FIRST])
    if name.endswith("down"):
        return range(values[Down.N_NETWORKS - FIRST])
    return range(2 if name.endswith("gate_up") else 0)


def n_units(operation: Operation, model: glmq.Model, n_tokens: int, depth: int, threads: int) -> int:
    """Of an operation's work."""
    name, values, program = operation.name, operation.values, model._program
    in_rows = n_tokens <= few()
    if name.endswith("matmul"):
        matrices = values[len(Matmul) :]
        rows = [matrices[i + MatmulMatrix.ROWS] for i in range(0, len(matrices), len(MatmulMatrix))]
        size = rows_of_unit.py_func(ROWS, sum(rows), threads) if in_rows else ROWS
        return sum(-(-each // size) for each in rows)
    if name.endswith("gate_up"):
        routing = program.expert_layers[0].routing if values[GateUp.ROUTING - FIRST] else None
        met = min(n_tokens * routing.top_k, routing.n_experts) if routing else 1
        return met * -(-values[GateUp.ROWS - FIRST] // ROWS)
    if name.endswith("down"):
        rows = values[Down.ROWS - FIRST]
        return -(-rows // (rows_of_unit.py_func(ROWS, rows, threads) if in_rows else ROWS))
    if name.startswith("ops.attention.kernel.attend"):
        planner = program.planner
        again = AttentionPlanner(planner.shape, planner.n_heads, threads, planner.latent)
        return len(again.work_list([Segment(0, n_tokens, depth)])[0]) * planner.shape.n_kv_heads
    if name == f"ops.{ONE_THREAD}" or (n_tokens == 1 and name.endswith(EVERY_THREAD)):
        return 1
    heads = program.planner.n_heads if "rope" in name or "finish" in name else 1
    return n_tokens * heads


@dataclass(frozen=True)
class Prediction:
    """Seconds of a run: of work evenly shared, of what units leave uneven or serial, and of waiting."""

    even: float
    uneven: float
    waiting: float

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.even + self.uneven + self.waiting


def predict(
    operations: list[Operation], model: glmq.Model, n_tokens: int, depth: int, cores: int, bandwidth: float
) -> Prediction:
    """A run on so many cores, each as fast as one here, that read `bandwidth` bytes per second together."""
    even = uneven = waiting = 0.0
    for each in operations:
        units = max(1, n_units(each, model, n_tokens, depth, cores))
        shared = max(each.seconds / cores, each.n_bytes / bandwidth)
        most = -(-units // cores) / units
        taken = max(each.seconds * most, each.n_bytes / bandwidth * most * cores)
        even, uneven = even + shared, uneven + taken - shared
        waiting += HANDOVER * cores * (each.waits + (units > 1))
    return Prediction(even, uneven, waiting)


def rows(model: glmq.Model, n_tokens: int, depth: int, rounds: int) -> Iterator[str]:
    """Of the table."""
    operations = timed(model, n_tokens, depth, rounds)
    alone = sum(each.seconds for each in operations)
    n_barriers = sum(each.waits for each in operations)
    what = f"prompt of {n_tokens}" if n_tokens > 1 else "decode"
    yield f"| {what} | 1 | | {n_tokens / alone:.1f} | 1.0 | | | |"
    for cores, bandwidth in MACHINES:
        found = predict(operations, model, n_tokens, depth, cores, bandwidth)
        parts = [f"{part / found.seconds:.0%}" for part in (found.even, found.uneven, found.waiting)]
        yield (
            f"| {what}, {n_barriers} barriers | {cores} | {bandwidth / 1e9:.0f} GB/s"
            f" | {n_tokens / found.seconds:.1f} | {alone / found.seconds:.1f} | {' | '.join(parts)} |"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file")
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--depth", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    model = glmq.load(
        args.file, n_ctx=args.depth + args.prompt + 8, n_threads=1, activations="int8", ram="100G"
    )
    print("| work | cores | memory | tokens/s | times one core | evenly shared | uneven, serial | waiting |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for n_tokens, depth, rounds in ((1, args.depth, args.rounds), (args.prompt, 0, 1)):
        for row in rows(model, n_tokens, depth, rounds):
            print(row)


if __name__ == "__main__":
    main()
