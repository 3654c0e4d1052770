"""The thread pool: every thread takes part, sleeping threads are woken, pools are independent."""

from __future__ import annotations

import ctypes
import gc
import itertools
import random
import signal
import threading
import time

import numpy as np
import pytest
from glmq_kernels.arrays import address_of, zeros
from glmq_kernels.jit.store import arguments
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_state import N_TOKENS
from glmq_kernels.ops.machine_peak.arguments import ReadMemory
from glmq_kernels.ops.operands import matrix_of
from glmq_kernels.threads.shared_state import N_BARRIERS, N_SLEEPING
from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool
from glmq_kernels.threads.work_units import chunk_borders
from hypothesis import given
from hypothesis import strategies as st

from .blocks import random_weights
from .runs import fill, floats

KERNEL = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)


class Doubling:
    """A tape that multiplies a vector by 2 in 40 steps of an identity matrix, each adding to the result."""

    def __init__(self, n_threads):
        self.tape = Tape(1, n_threads)
        self.source = operations.new_activation(self.tape, 64)
        self.out = operations.float_rows(self.tape, 64)
        identity = matrix_of(np.eye(64, dtype=np.float32).view(np.uint8), 64, 64, "F32")
        operations.prepare_rows(self.tape, self.source)
        for _ in range(40):
            operations.matmul(
                self.tape, self.source, operations.Projection(identity, self.out), accumulate=True
            )
        self.tape.finish()
        self.tape.state[N_TOKENS] = 1
        fill(self.source.rows, np.ones(64, np.float32))

    def check(self, thread_pool):
        floats(self.out, 64)[:] = 0
        self.tape.run(thread_pool)
        assert (floats(self.out, 64) == 40).all()


@pytest.mark.parametrize("n_threads", (1, 2, 3, 8))
def test_any_number_of_threads(n_threads):
    thread_pool = ThreadPool(n_threads)
    work = Doubling(n_threads)
    for _ in range(20):
        work.check(thread_pool)
    thread_pool.close()


def test_every_thread_takes_part_in_every_operation():
    thread_pool = ThreadPool(3)
    work = Doubling(3)
    for runs in (1, 2, 3):
        work.check(thread_pool)
        barriers = runs * (1 + 40)
        assert thread_pool._slots[N_BARRIERS // 8] == barriers
    thread_pool.close()


class Steps:
    """`n` operations in Python with barriers between them; `pause(thread)` makes each as long as it wants."""

    def __init__(self, n, n_threads, pause):
        self.n_threads, self.pause = n_threads, pause
        self.began, self.ended = [0] * n, [0] * n
        self.early = []
        self._lock = threading.Lock()
        self._function = KERNEL(self._step)  # kept, as ctypes wants it
        address = ctypes.cast(self._function, ctypes.c_void_p).value
        self._taken = np.zeros(1, np.int64)
        self._records = [arguments(0, address_of(self._taken), 1, i) for i in range(n)]
        self.operations = np.array([(address, address_of(record), 1) for record in self._records], np.int64)

    def _step(self, args, thread, threads):
        i = (ctypes.c_int64 * 4).from_address(args)[3]
        with self._lock:
            if i > 0 and self.ended[i - 1] < self.n_threads:
                self.early.append((i, thread))
            self.began[i] += 1
        self.pause(thread)
        with self._lock:
            self.ended[i] += 1


@pytest.mark.parametrize("patience", [(0, 0), (20, 0), (0, 20), (2000, 300)], ids=str)
def test_no_thread_passes_a_barrier_before_all_have_come(patience):
    rng = random.Random(0)
    pauses = [rng.choice((0, 0, 1e-5, 1e-4, 2e-3)) for _ in range(997)]
    number = itertools.count()
    thread_pool = ThreadPool(6, patience)
    for _ in range(4):
        steps = Steps(40, 6, lambda thread: time.sleep(pauses[next(number) % len(pauses)]))
        thread_pool.run(steps.operations)
        assert not steps.early
        assert steps.began == steps.ended == [6] * 40
    thread_pool.close()


@pytest.mark.parametrize("n_threads", (2, 3, 12))
def test_no_wake_up_is_lost_where_threads_sleep_at_once(n_threads):
    thread_pool, work = ThreadPool(n_threads, (0, 0)), Doubling(n_threads)
    for _ in range(100):
        work.check(thread_pool)
    assert thread_pool._slots[N_SLEEPING // 8] <= n_threads - 1  # only those that wait for the next run
    thread_pool.close()


@pytest.mark.parametrize("n_threads", (1, 2, 5))
def test_every_unit_is_taken_once_in_every_run(n_threads):
    memory = np.random.default_rng(0).integers(0, 1 << 60, 3_000_032, np.int64)  # 366 units and a bit
    thread_pool, out = ThreadPool(n_threads), zeros((n_threads, 8), np.int64)
    tape = Tape(1, n_threads)
    tape.add(
        "ops.machine_peak.kernel.read_memory",
        ReadMemory,
        address=address_of(memory),
        n_bytes=memory.nbytes,
        out=address_of(out),
    )
    tape.finish()
    for _ in range(3):
        tape.run(thread_pool)
        assert (np.bitwise_xor.reduce(out) == np.bitwise_xor.reduce(memory.reshape(-1, 8))).all()
    thread_pool.close()


@given(st.integers(0, 5000), st.integers(1, 64))
def test_chunks_follow_each_other_and_become_smaller(n_units, n_threads):
    chunk_of = chunk_borders.py_func
    expected, sizes = 0, []
    while expected < n_units:
        first, last = chunk_of(len(sizes), n_units, n_threads)
        assert first == expected < last
        expected = last
        sizes.append(last - first)
    assert sizes == sorted(sizes, reverse=True)
    assert not sizes or (sizes[-1] == 1 and sizes[0] <= max(1, n_units / (2 * n_threads)))
    for chunk in range(len(sizes), len(sizes) + n_threads):
        first, last = chunk_of(chunk, n_units, n_threads)
        assert first >= last


def test_few_chunks_are_taken():
    """One addition for each is what taking costs: 2 threads at 16384 rows, 64 at 4096."""
    for n_units, n_threads, most in ((512, 2, 20), (128, 64, 128), (4736, 16, 160)):
        chunks = itertools.takewhile(
            lambda chunk: chunk[0] < chunk[1],
            (chunk_borders.py_func(i, n_units, n_threads) for i in itertools.count()),
        )
        assert len(list(chunks)) <= most


def test_sleeping_threads_are_woken():
    thread_pool = ThreadPool(3)
    work = Doubling(3)
    for pause in (0.0, 0.05, 0.0, 0.2, 0.001, 0.02):
        time.sleep(pause)
        work.check(thread_pool)
    thread_pool.close()


def test_callers_of_one_pool_wait_for_each_other():
    thread_pool = ThreadPool(2)
    works = [Doubling(2) for _ in range(4)]
    callers = [threading.Thread(target=lambda w=w: [w.check(thread_pool) for _ in range(50)]) for w in works]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((floats(w.out, 64) == 40).all() for w in works)
    thread_pool.close()


def test_pools_work_side_by_side():
    pools = [ThreadPool(2) for _ in range(3)]
    works = [Doubling(2) for _ in pools]
    for _ in range(10):
        for thread_pool, work in zip(pools, works, strict=True):
            work.check(thread_pool)
    for thread_pool in pools:
        thread_pool.close()


def test_a_closed_pool_refuses_work_and_leaves_no_threads():
    before = threading.active_count()
    thread_pool = ThreadPool(4)
    work = Doubling(4)
    work.check(thread_pool)
    thread_pool.close()
    thread_pool.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        work.tape.run(thread_pool)


def test_a_forgotten_pool_ends_its_threads():
    before = threading.active_count()
    thread_pool = ThreadPool(3)
    Doubling(3).check(thread_pool)
    del thread_pool
    gc.collect()
    assert threading.active_count() == before


class Interrupted(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_exceptions_from_signals_leave_the_pool_usable():
    def interrupt(number, frame):
        raise Interrupted

    thread_pool, work = ThreadPool(3), Doubling(3)
    before = signal.signal(signal.SIGVTALRM, interrupt)
    interrupted = 0
    try:
        for i in range(300):
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, 1e-5 + i * 1e-6)
                while True:
                    work.tape.run(thread_pool)
            except Interrupted:
                interrupted += 1
    finally:
        signal.signal(signal.SIGVTALRM, before)
    assert interrupted == 300
    work.check(thread_pool)
    thread_pool.close()


def test_results_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 200, 256, "Q4_0")
    x = rng.standard_normal((9, 256)).astype(np.float32)
    results = []
    for n_threads in (1, 2, 5):
        thread_pool = ThreadPool(n_threads)
        tape = Tape(9, n_threads)
        source, out = operations.new_activation(tape, 256), operations.float_rows(tape, 200)
        operations.prepare_rows(tape, source)
        operations.matmul(tape, source, operations.Projection(matrix_of(weights, 200, 256, "Q4_0"), out))
        tape.finish()
        tape.state[N_TOKENS] = 9
        fill(source.rows, x)
        tape.run(thread_pool)
        results.append(floats(out, 9, 200).copy())
        thread_pool.close()
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()
