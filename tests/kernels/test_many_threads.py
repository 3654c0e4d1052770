"""More threads than cores, than units of work, and than one node of memory: the results are the same."""

from __future__ import annotations

import numpy as np
import pytest
from glmq_kernels.gemm.sizes import ROWS
from glmq_kernels.machine.cores import processor_count
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_state import N_ROW_TOKENS, N_TOKENS
from glmq_kernels.ops.operands import Experts, matrix_of
from glmq_kernels.threads.shared_state import SPINS
from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import PATIENCE, PATIENCE_IN_A_CROWD, ThreadPool
from glmq_kernels.threads.work_units import LEAST_ROWS, UNITS_PER_THREAD, rows_of_unit
from hypothesis import given
from hypothesis import strategies as st

from .blocks import random_weights
from .runs import fill, floats

COLUMNS, WIDTH, N_EXPERTS, TOP_K = 256, 160, 5, 2
MATRIX_ROWS = (200, 33)


class Layer:
    """Two matrices side by side, then a routed network, all of which add to or fill `results`."""

    def __init__(self, n_threads, n_nodes, n_tokens, n_row_tokens):
        rng = np.random.default_rng(0)
        self.n_tokens = n_tokens
        self.tape = tape = Tape(n_tokens, n_threads, n_nodes=n_nodes)
        source = operations.new_activation(tape, COLUMNS)
        operations.prepare_rows(tape, source)
        self.outs = [operations.float_rows(tape, rows) for rows in MATRIX_ROWS]
        projections = [
            operations.Projection(self._matrix(rng, rows, COLUMNS), out)
            for rows, out in zip(MATRIX_ROWS, self.outs, strict=True)
        ]
        operations.matmul(tape, source, *projections)
        routing = operations.new_routing(tape, N_EXPERTS, TOP_K)
        logits = operations.float_rows(tape, N_EXPERTS)
        fill(logits, rng.standard_normal((n_tokens, N_EXPERTS)).astype(np.float32))
        operations.route(
            tape, logits, routing, bias=None, n_groups=1, kept_groups=1, normalize=True, factor=1.0
        )
        gathered = operations.new_gathered(tape, COLUMNS, routing)
        operations.gather_tiles(tape, source, gathered, routing)
        shapes = ((WIDTH, COLUMNS), (WIDTH, COLUMNS), (COLUMNS, WIDTH))
        experts = Experts(*([self._matrix(rng, *shape) for _ in range(N_EXPERTS)] for shape in shapes))
        network = operations.Network(experts, operations.new_chosen(tape, WIDTH, routing), routing)
        operations.gate_up(tape, network, source, gathered)
        self.added = operations.float_rows(tape, COLUMNS)
        operations.down(tape, network, out=self.added)
        tape.finish()
        tape.state[N_TOKENS], tape.state[N_ROW_TOKENS] = n_tokens, n_row_tokens
        fill(source.rows, rng.standard_normal((n_tokens, COLUMNS)).astype(np.float32))

    def _matrix(self, rng, rows, columns):
        return matrix_of(random_weights(rng, rows, columns, "Q4_0"), rows, columns, "Q4_0")

    def results(self, thread_pool):
        floats(self.added, self.n_tokens, COLUMNS)[:] = 0
        self.tape.run(thread_pool)
        each = zip((*self.outs, self.added), (*MATRIX_ROWS, COLUMNS), strict=True)
        return [floats(memory, self.n_tokens, columns).copy() for memory, columns in each]


@pytest.fixture(scope="module")
def expected():
    """Of one thread, by numbers of tokens and of those in the row form."""
    thread_pool = ThreadPool(1)
    yield {each: Layer(1, 1, *each).results(thread_pool) for each in ((1, 1), (30, 2))}
    thread_pool.close()


@pytest.mark.parametrize("n_tokens", [(1, 1), (30, 2)], ids=("decoding", "prompt"))
@pytest.mark.parametrize(("n_threads", "n_nodes"), [(2, 1), (2, 2), (3, 2), (7, 3), (64, 1), (64, 4)])
def test_results_are_those_of_one_thread(expected, n_tokens, n_threads, n_nodes):
    thread_pool = ThreadPool(n_threads)
    layer = Layer(n_threads, n_nodes, *n_tokens)
    for _ in range(3):
        for found, wanted in zip(layer.results(thread_pool), expected[n_tokens], strict=True):
            np.testing.assert_array_equal(found, wanted)
    thread_pool.close()


@given(st.integers(1, 20000), st.integers(1, 200))
def test_units_become_smaller_only_for_many_threads(n_rows, threads):
    rows = rows_of_unit.py_func(ROWS, n_rows, threads)
    assert LEAST_ROWS <= rows <= ROWS
    assert ROWS % rows == 0
    if rows < ROWS:
        assert n_rows < UNITS_PER_THREAD * threads * 2 * rows
    if rows > LEAST_ROWS and threads > 1:
        assert n_rows >= UNITS_PER_THREAD * threads * rows


@pytest.mark.parametrize(
    ("n_threads", "patience"),
    [(processor_count(), PATIENCE), (processor_count() + 1, PATIENCE_IN_A_CROWD)],
)
def test_threads_spin_only_where_each_has_a_processor(n_threads, patience):
    thread_pool = ThreadPool(n_threads)
    assert tuple(thread_pool._slots[SPINS // 8 :][:2]) == patience
    thread_pool.close()
