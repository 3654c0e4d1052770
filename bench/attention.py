"""Time of one layer's attention on one thread, in the thread's own time, at any depth.

python bench/attention.py [--shape air|flash] [--cache-type TYPE] [--rows] [1@4096 1@16384 64@4096 ...]

N@D: N tokens of one sequence behind D positions, of a prompt where they are several. --rows: as in the row
form, without panels. TYPE: of a KV cache, or of keys and values, as Q8_0/Q4_0. The best of several runs.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.attention.cache_layout import CacheShape
from glmq_kernels.ops.batch_state import N_TOKENS, PAGE_TABLES, POSITIONS
from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool

from glmq.model_settings import known_cache_type

SHAPES = {
    "air": (96, {"n_kv_heads": 8, "key_dim": 128, "value_dim": 128}),
    "flash": (20, {"n_kv_heads": 1, "key_dim": 576, "value_dim": 512, "values_in_keys": True}),
}
"""Query heads, and what is kept of a position: of GLM-4.5-Air and of GLM-4.7-Flash."""
LAYERS = 2
REPETITIONS, SECONDS = 12, 20.0
"""At most so many runs of a case, and fewer where they would take longer."""


def measure(pool: ThreadPool, n_heads: int, shape: CacheShape, n: int, depth: int, in_panels: bool) -> float:
    """Seconds of a layer."""
    tape = Tape(n, 1)
    q, out = (
        ops.float_rows(tape, n_heads * shape.key_dim),
        ops.new_activation(tape, n_heads * shape.value_dim),
    )
    q.view(np.float32)[:] = 0.01
    planner = ops.attention_planner(tape, shape, n_heads)
    planner.in_panels &= in_panels
    for layer in range(LAYERS):
        ops.attend(tape, q, out, planner, layer)
    tape.finish()
    memory = aligned_zeros(shape.n_bytes(depth + n))
    memory[:] = 0x11  # small numbers in every type
    table = copy_of(address_of(memory) + np.arange(0, len(memory), shape.page_bytes), np.int64)
    positions = copy_of(np.arange(depth, depth + n), np.int64)
    tables = copy_of([address_of(table)] * n, np.int64)
    state = tape.state
    state[N_TOKENS], state[POSITIONS], state[PAGE_TABLES] = n, address_of(positions), address_of(tables)
    planner.plan(state, positions, tables)
    best, end = float("inf"), time.thread_time() + SECONDS
    for i in range(REPETITIONS):
        if i and time.thread_time() + best > end:
            break
        began = time.thread_time()
        tape.run(pool)
        best = min(best, time.thread_time() - began)
    return best / LAYERS


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=["1@4096", "1@16384", "64@4096"])
    parser.add_argument("--shape", choices=SHAPES, default="air")
    parser.add_argument("--cache-type", type=known_cache_type, default="F16")
    parser.add_argument("--rows", action="store_true")
    options = parser.parse_args()
    n_heads, sizes = SHAPES[options.shape]
    shape = CacheShape(LAYERS, type=options.cache_type, **sizes)  # type: ignore[arg-type]
    pool = ThreadPool(1)
    for case in options.cases:
        n, depth = map(int, case.split("@"))
        seconds = measure(pool, n_heads, shape, n, depth, not options.rows)
        flops = 2 * n_heads * (shape.key_dim + shape.value_dim) * n * (depth + (n + 1) / 2)
        print(f"{case:>10}{1000 * seconds:10.2f} ms{flops / seconds / 1e9:8.1f} GFLOPS", flush=True)
    pool.close()


if __name__ == "__main__":
    main()
