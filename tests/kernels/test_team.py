"""The thread team: every thread takes part, parked threads are woken, teams are independent."""

from __future__ import annotations

import gc
import signal
import threading
import time

import numpy as np
import pytest
from glmq_kernels import operations
from glmq_kernels.board import BARRIER_TURN
from glmq_kernels.operands import matrix_of
from glmq_kernels.slots import N_TOKENS
from glmq_kernels.tape import Tape
from glmq_kernels.team import Team

from .blocks import random_weights
from .runs import fill, floats


class Doubling:
    """A tape that multiplies a vector by 2 in 40 steps of an identity matrix, each adding to the result."""

    def __init__(self, n_threads):
        self.tape = Tape(1, n_threads)
        self.source = operations.new_activation(self.tape, 64)
        self.out = operations.float_rows(self.tape, 64)
        identity = matrix_of(np.eye(64, dtype=np.float32).view(np.uint8), 64, 64, "F32")
        self.tape.add("activation.prepare_rows", self.source.address, N_TOKENS)
        for _ in range(40):
            operations.matmul(
                self.tape, self.source, operations.Projection(identity, self.out), accumulate=True
            )
        self.tape.finish()
        self.tape.state[N_TOKENS] = 1
        fill(self.source.rows, np.ones(64, np.float32))

    def check(self, team):
        floats(self.out, 64)[:] = 0
        self.tape.run(team)
        assert (floats(self.out, 64) == 40).all()


@pytest.mark.parametrize("n_threads", (1, 2, 3, 8))
def test_any_number_of_threads(n_threads):
    team = Team(n_threads)
    work = Doubling(n_threads)
    for _ in range(20):
        work.check(team)
    team.close()


def test_every_thread_takes_part_in_every_operation():
    team = Team(3)
    work = Doubling(3)
    for runs in (1, 2, 3):
        work.check(team)
        meetings = runs * (1 + 40)
        assert team._slots[BARRIER_TURN // 8] == meetings
    team.close()


def test_parked_threads_are_woken():
    team = Team(3)
    work = Doubling(3)
    for pause in (0.0, 0.05, 0.0, 0.2, 0.001, 0.02):
        time.sleep(pause)
        work.check(team)
    team.close()


def test_callers_of_one_team_wait_for_each_other():
    team = Team(2)
    works = [Doubling(2) for _ in range(4)]
    callers = [threading.Thread(target=lambda w=w: [w.check(team) for _ in range(50)]) for w in works]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert all((floats(w.out, 64) == 40).all() for w in works)
    team.close()


def test_teams_work_side_by_side():
    teams = [Team(2) for _ in range(3)]
    works = [Doubling(2) for _ in teams]
    for _ in range(10):
        for team, work in zip(teams, works, strict=True):
            work.check(team)
    for team in teams:
        team.close()


def test_a_closed_team_refuses_work_and_leaves_no_threads():
    before = threading.active_count()
    team = Team(4)
    work = Doubling(4)
    work.check(team)
    team.close()
    team.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        work.tape.run(team)


def test_a_forgotten_team_ends_its_threads():
    before = threading.active_count()
    team = Team(3)
    Doubling(3).check(team)
    del team
    gc.collect()
    assert threading.active_count() == before


class Interrupted(Exception):
    pass


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs POSIX timers")
def test_exceptions_from_signals_leave_the_team_usable():
    def interrupt(number, frame):
        raise Interrupted

    team, work = Team(3), Doubling(3)
    before = signal.signal(signal.SIGVTALRM, interrupt)
    interrupted = 0
    try:
        for i in range(300):
            try:
                signal.setitimer(signal.ITIMER_VIRTUAL, 1e-5 + i * 1e-6)
                while True:
                    work.tape.run(team)
            except Interrupted:
                interrupted += 1
    finally:
        signal.signal(signal.SIGVTALRM, before)
    assert interrupted == 300
    work.check(team)
    team.close()


def test_results_do_not_depend_on_the_number_of_threads():
    rng = np.random.default_rng(0)
    weights = random_weights(rng, 200, 256, "Q4_0")
    x = rng.standard_normal((9, 256)).astype(np.float32)
    results = []
    for n_threads in (1, 2, 5):
        team = Team(n_threads)
        tape = Tape(9, n_threads)
        source, out = operations.new_activation(tape, 256), operations.float_rows(tape, 200)
        tape.add("activation.prepare_rows", source.address, N_TOKENS)
        operations.matmul(tape, source, operations.Projection(matrix_of(weights, 200, 256, "Q4_0"), out))
        tape.finish()
        tape.state[N_TOKENS] = 9
        fill(source.rows, x)
        tape.run(team)
        results.append(floats(out, 9, 200).copy())
        team.close()
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()
