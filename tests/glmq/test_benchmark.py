"""What `glmq bench` counts while several sequences are evaluated together."""

from __future__ import annotations

import threading
import time

import pytest

from glmq import benchmark
from glmq.benchmark import Case, Plan


class Together:
    """Stands for a session: notes what is evaluated; nobody goes on before all have begun."""

    def __init__(self, barrier):
        self.parts = []
        self._barrier = barrier

    def evaluate(self, tokens):
        if not self.parts:
            self._barrier.wait(timeout=20)
        self.parts.append(tokens)


class Failing:
    def evaluate(self, tokens):
        raise ValueError("no")


class Slow:
    """Takes long enough for others to end it."""

    n_parts = 0

    def evaluate(self, tokens):
        self.n_parts += 1
        time.sleep(0.01)


def test_sequences_are_evaluated_at_the_same_time():
    barrier = threading.Barrier(3)
    sessions = [Together(barrier) for _ in range(3)]
    tokens = [[1, 2], [3, 4], [5, 6]]
    benchmark._evaluate(sessions, tokens, at_once=False)
    assert [session.parts for session in sessions] == [[[1], [2]], [[3], [4]], [[5], [6]]]


def test_a_prompt_is_read_at_once():
    sessions = [Together(threading.Barrier(1))]
    benchmark._evaluate(sessions, [[1, 2]], at_once=True)
    assert sessions[0].parts == [[1, 2]]


def test_an_error_in_one_sequence_ends_the_others():
    other = Slow()
    with pytest.raises(ValueError, match="no"):
        benchmark._evaluate([Failing(), other], [[1], list(range(10_000))], at_once=False)
    assert other.n_parts < 10_000


def test_every_number_of_sequences_is_measured_for_every_length_and_depth():
    plan = Plan(n_prompt=(0, 16), n_gen=(4,), n_depth=(0, 8), n_seq=(1, 2))
    assert [case.name for case in plan.cases()] == [
        "pp16", "2 x pp16", "tg4", "2 x tg4", "pp16 @ d8", "2 x pp16 @ d8", "tg4 @ d8", "2 x tg4 @ d8",
    ]  # fmt: skip


def test_rates_are_of_all_sequences_together(small):
    def tell(*args):
        pass

    limits = benchmark.Limits(1e9, 1e9)
    plan = Plan(repetitions=2)
    one, three = (benchmark._measure(small, limits, plan, Case(0, 5, 0, n), tell) for n in (1, 3))
    assert (one.n_seq, three.n_seq) == (1, 3)
    work = small.work.weight_bytes + small.work.output_bytes
    assert one.weight_bytes == pytest.approx(one.avg_ts * work)
    assert three.weight_bytes == pytest.approx(three.avg_ts / 3 * work)
    assert three.multiply_adds / three.avg_ts == pytest.approx(one.multiply_adds / one.avg_ts)
