"""Both forms of latent attention, of GLM-4.7-Flash's shape: time of a layer on one thread, in its own time.

python bench/latent_attention.py [--cache-type F16] [--weights Q8_0] [512@0 512@4096 2048@16384 ...]

N@D: N tokens of one sequence behind D positions. The best of several runs, in turn. Absorbed includes the
products with the heads' matrices before and after. Last stands which form the program takes.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from glmq_kernels.arrays import address_of, aligned_zeros, copy_of
from glmq_kernels.ops import operations as ops
from glmq_kernels.ops.attention.cache_layout import CACHE_TYPES, CacheShape
from glmq_kernels.ops.batch_part import ABSORBED
from glmq_kernels.ops.batch_state import (
    N_ATTEND_TOKENS,
    N_ATTENTION_WORK,
    N_PROMPT_WORK,
    N_TOKENS,
    PAGE_TABLES,
    POSITIONS,
    PROMPT_WORK,
)
from glmq_kernels.ops.expanded_attention.sizes import LatentSizes
from glmq_kernels.ops.expanded_attention.work_list import expanded_is_cheaper
from glmq_kernels.ops.operands import matrix_of
from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool

FLASH = LatentSizes(n_heads=20, kv_rank=512, nope_dim=192, rope_dim=64, value_dim=256)
REPETITIONS = 3
CASES = ["64@0", "128@0", "512@0", "256@4096", "512@4096", "1024@4096", "2048@4096"]


class Layer:
    """One layer's attention in either form."""

    def __init__(self, cache_type: str, weight_type: str, n: int, depth: int) -> None:
        sizes, heads = FLASH, FLASH.n_heads
        self.tape = tape = Tape(n, 1)
        shape = CacheShape(1, 1, sizes.row_dim, sizes.kv_rank, values_in_keys=True, type=cache_type)
        planner = ops.attention_planner(tape, shape, heads, sizes)
        q, queries, attended = (
            ops.float_rows(tape, heads * columns) for columns in (sizes.key_dim, sizes.row_dim, sizes.kv_rank)
        )
        nope, latent = (ops.new_heads(tape, heads, columns) for columns in (sizes.nope_dim, sizes.kv_rank))
        values = ops.new_activation(tape, heads * sizes.value_dim)
        q.view(np.float32)[:] = 0.01
        key_matrices, value_matrices = (
            _matrices(tape, rows, columns, weight_type)
            for rows, columns in ((sizes.kv_rank, sizes.nope_dim), (sizes.value_dim, sizes.kv_rank))
        )
        ops.gather_heads(
            tape, q, nope, n_heads=heads, source_columns=sizes.key_dim, rest=(queries, sizes.row_dim),
            part=ABSORBED,
        )  # fmt: skip
        ops.multiply_heads(tape, nope, key_matrices, queries, out_columns=sizes.row_dim, part=ABSORBED)
        ops.attend_expanded(tape, q, key_matrices, value_matrices, values, planner, 0)
        ops.attend(tape, queries, attended, planner, 0)
        ops.gather_heads(tape, attended, latent, n_heads=heads, source_columns=sizes.kv_rank, part=ABSORBED)
        ops.multiply_heads(tape, latent, value_matrices, values, out_columns=sizes.value_dim, part=ABSORBED)
        tape.finish()
        memory = aligned_zeros(shape.n_bytes(depth + n))
        memory[:] = 0x11  # small numbers in every type
        table = copy_of(address_of(memory) + np.arange(0, len(memory), shape.page_bytes), np.int64)
        positions, tables = (
            copy_of(np.arange(depth, depth + n), np.int64), copy_of([address_of(table)] * n, np.int64)
        )  # fmt: skip
        self._kept = planner, memory, table, positions, tables
        state = tape.state
        state[N_TOKENS], state[POSITIONS], state[PAGE_TABLES] = n, address_of(positions), address_of(tables)
        planner.latent = None
        planner.plan(state, positions, tables)
        self._item = copy_of([0, n], np.int64)
        self._n, self._n_items = n, int(state[N_ATTENTION_WORK])

    def seconds(self, pool: ThreadPool, *, expanded: bool) -> float:
        """Of one run, in the thread's time."""
        state = self.tape.state
        state[N_ATTEND_TOKENS] = 0 if expanded else self._n
        state[PROMPT_WORK], state[N_PROMPT_WORK] = address_of(self._item), int(expanded)
        state[N_ATTENTION_WORK] = 0 if expanded else self._n_items
        began = time.thread_time()
        self.tape.run(pool)
        return time.thread_time() - began


def _matrices(tape: Tape, rows: int, columns: int, type_name: str) -> ops.HeadMatrices:
    """Small numbers for every head."""
    from glmq_kernels.formats.quantize import quantize_rows

    numbers = np.random.default_rng(0).standard_normal((FLASH.n_heads * rows, columns), np.float32) * 0.02
    content = quantize_rows(numbers, type_name)
    first = matrix_of(content.reshape(-1), rows, columns, type_name)
    tape.keep(content)
    return ops.HeadMatrices(first, FLASH.n_heads, first.n_bytes)


def main() -> None:
    """Print a line for each case."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=CASES)
    parser.add_argument("--cache-type", choices=CACHE_TYPES, default="F16")
    parser.add_argument("--weights", default="Q8_0")
    options = parser.parse_args()
    pool = ThreadPool(1)
    for case in options.cases:
        n, depth = map(int, case.split("@"))
        layer = Layer(options.cache_type, options.weights, n, depth)
        runs = [
            [layer.seconds(pool, expanded=expanded) for expanded in (False, True)] for _ in range(REPETITIONS)
        ]
        absorbed, expanded = (1000 * min(times) for times in zip(*runs, strict=True))
        taken = "expanded" if expanded_is_cheaper(FLASH, n, depth) else "absorbed"
        print(
            f"{case:>12}  absorbed {absorbed:9.2f} ms  expanded {expanded:9.2f} ms"
            f"  {absorbed / expanded:5.2f}x  {taken}",
            flush=True,
        )
    pool.close()


if __name__ == "__main__":
    main()
