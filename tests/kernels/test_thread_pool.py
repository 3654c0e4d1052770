"""The thread pool: every thread takes part, parked threads are woken, teams are independent."""

from __future__ import annotations

import gc
import signal
import threading
import time

import numpy as np
import pytest
from glmq_kernels.ops import operations
from glmq_kernels.ops.batch_state import N_TOKENS
from glmq_kernels.ops.operands import matrix_of
from glmq_kernels.threads.layout import BARRIER_TURN
from glmq_kernels.threads.tape import Tape
from glmq_kernels.threads.thread_pool import ThreadPool

from .blocks import random_weights
from .runs import fill, floats


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
        meetings = runs * (1 + 40)
        assert thread_pool._slots[BARRIER_TURN // 8] == meetings
    thread_pool.close()


def test_parked_threads_are_woken():
    thread_pool = ThreadPool(3)
    work = Doubling(3)
    for pause in (0.0, 0.05, 0.0, 0.2, 0.001, 0.02):
        time.sleep(pause)
        work.check(thread_pool)
    thread_pool.close()


def test_callers_of_one_team_wait_for_each_other():
    thread_pool = ThreadPool(2)
    works = [Doubling(2) for _ in range(4)]
    callers = [threading.Thread(target=lambda w=w: [w.check(thread_pool) for _ in range(50)]) for w in works]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((floats(w.out, 64) == 40).all() for w in works)
    thread_pool.close()


def test_teams_work_side_by_side():
    teams = [ThreadPool(2) for _ in range(3)]
    works = [Doubling(2) for _ in teams]
    for _ in range(10):
        for thread_pool, work in zip(teams, works, strict=True):
            work.check(thread_pool)
    for thread_pool in teams:
        thread_pool.close()


def test_a_closed_team_refuses_work_and_leaves_no_threads():
    before = threading.active_count()
    thread_pool = ThreadPool(4)
    work = Doubling(4)
    work.check(thread_pool)
    thread_pool.close()
    thread_pool.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        work.tape.run(thread_pool)


def test_a_forgotten_team_ends_its_threads():
    before = threading.active_count()
    thread_pool = ThreadPool(3)
    Doubling(3).check(thread_pool)
    del thread_pool
    gc.collect()
    assert threading.active_count() == before


class Interrupted(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_exceptions_from_signals_leave_the_team_usable():
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
