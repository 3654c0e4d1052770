"""The scheduler's thread and its callers: who gets what, cancelling, Ctrl-C, errors, the end."""

from __future__ import annotations

import gc
import signal
import threading
import time
import weakref

import numpy as np
import pytest

from glmq.errors import ModelClosed
from glmq.scheduling.request import Cancelled
from glmq.scheduling.scheduler import Scheduler

from .scripted_engine import ScriptedSequence
from .threads_aside import SECONDS, join, run_aside


class Echo:
    """An engine whose logits are the last token; it can be held inside a step."""

    def __init__(self, n_sections=1):
        self.steps, self.n_sections = [], n_sections
        self.in_step, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def run_step(self, chunks, n_sections, goes_on):
        self.steps.append([(chunk.request.sequence, chunk.n_tokens) for chunk in chunks])
        for _ in range(self.n_sections):
            self.in_step.set()
            assert self.go_on.wait(SECONDS)
            if not goes_on():
                return False
        for chunk in chunks:
            chunk.logits[:, 0] = chunk.tokens[chunk.n_tokens - len(chunk.logits) :]
        return True

    def held(self):
        """From now on its steps wait until they may go on."""
        self.in_step.clear()
        self.go_on.clear()


@pytest.fixture
def scheduler():
    made = Scheduler(64)
    yield made
    made.stop(lambda: ModelClosed("closed"), lambda: None)


@pytest.fixture
def engine():
    return Echo()


def evaluate(scheduler, engine, tokens, sequence=None, n_logits=1, **options):
    """The logits behind the last of some tokens."""
    logits = np.zeros((n_logits, 1), np.float32)
    scheduler.evaluate(engine, sequence or ScriptedSequence(), np.array(tokens), logits, **options)
    return logits[:, 0].tolist()


def test_logits_of_the_last_tokens_across_steps(scheduler, engine):
    sequence = ScriptedSequence()
    assert evaluate(scheduler, engine, range(100), sequence, n_logits=50) == list(range(50, 100))
    assert sequence.tokens == list(range(100))
    assert evaluate(scheduler, engine, [7], sequence) == [7]
    assert [[n for _, n in step] for step in engine.steps] == [[64], [36], [1]]


def test_callers_in_many_threads_get_their_own(scheduler, engine):
    def ask(i):
        sequence = ScriptedSequence()
        return [evaluate(scheduler, engine, [100 * i + j] * (1 + j), sequence)[0] for j in range(20)]

    threads = [run_aside(lambda i=i: ask(i)) for i in range(16)]
    join(*(thread for thread, _ in threads))
    assert [found for _, found in threads] == [[[100 * i + j for j in range(20)]] for i in range(16)]


def test_what_arrives_during_a_step_goes_together_into_the_next(scheduler, engine):
    engine.held()
    threads = [run_aside(lambda: evaluate(scheduler, engine, [1]))]
    assert engine.in_step.wait(SECONDS)
    threads += [run_aside(lambda: evaluate(scheduler, engine, [2])) for _ in range(5)]
    while scheduler._worker.inbox.qsize() < 5:
        time.sleep(0.001)
    engine.go_on.set()
    join(*(thread for thread, _ in threads))
    assert [len(step) for step in engine.steps] == [1, 5]


def test_progress_is_told_in_the_callers_thread_and_may_end_it(scheduler, engine):
    told, cancelled = [], []

    def progress(done, wanted):
        told.append((done, wanted, threading.current_thread() is threading.main_thread()))
        if done == 128:
            cancelled.append(True)

    sequence = ScriptedSequence()
    with pytest.raises(Cancelled):
        evaluate(
            scheduler, engine, range(300), sequence,
            progress=progress, is_cancelled=lambda: bool(cancelled),
        )  # fmt: skip
    assert told == [(64, 300, True), (128, 300, True)]
    assert sequence.tokens == list(range(128))


def test_an_error_in_progress_ends_the_request(scheduler, engine):
    def progress(done, wanted):
        raise ValueError("enough")

    sequence = ScriptedSequence()
    with pytest.raises(ValueError, match="enough"):
        evaluate(scheduler, engine, range(300), sequence, progress=progress)
    assert evaluate(scheduler, engine, [1], sequence) == [1]
    assert len(engine.steps) == 2


def test_cancelling_inside_a_long_step_gives_it_up_and_leaves_the_sequence(scheduler):
    engine, cancelled, sequence = Echo(n_sections=10), [], ScriptedSequence()
    evaluate(scheduler, engine, [5], sequence)
    engine.held()
    thread, found = run_aside(
        lambda: evaluate(scheduler, engine, range(60), sequence, is_cancelled=lambda: bool(cancelled))
    )
    assert engine.in_step.wait(SECONDS)
    cancelled.append(True)
    engine.go_on.set()
    join(thread)
    assert isinstance(found[0], Cancelled)
    assert sequence.tokens == [5]


def test_one_who_is_cancelled_while_others_want_the_step_waits_for_its_end(scheduler):
    """The step is short, and what the others have of it is not thrown away."""
    engine, cancelled = Echo(), []
    for n in (1, 2):  # so that the cost is known
        evaluate(scheduler, engine, [1] * n)
    engine.held()
    first, _ = run_aside(lambda: evaluate(scheduler, engine, [1]))
    assert engine.in_step.wait(SECONDS)
    second = run_aside(lambda: evaluate(scheduler, engine, [2]))
    third = run_aside(lambda: evaluate(scheduler, engine, [3], is_cancelled=lambda: bool(cancelled)))
    while scheduler._worker.inbox.qsize() < 2:
        time.sleep(0.001)
    engine.go_on.set()
    join(first, second[0], third[0])
    assert second[1] == [[2]]
    assert third[1] == [[3]]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="needs signals to threads")
def test_ctrl_c_takes_the_request_back_before_it_is_raised(scheduler, engine):
    engine.held()
    sequence = ScriptedSequence()

    def interrupt():
        assert engine.in_step.wait(SECONDS)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        while not all(request.withdrawn for request in scheduler._worker.running):
            time.sleep(0.001)
        engine.go_on.set()

    thread, _ = run_aside(interrupt)
    with pytest.raises(KeyboardInterrupt):
        evaluate(scheduler, engine, range(60), sequence)
    assert not scheduler._worker.running
    assert not sequence.tokens
    join(thread)
    assert evaluate(scheduler, engine, [1], sequence) == [1]


def test_an_error_of_the_engine_reaches_all_who_were_in_the_step_and_nobody_else(scheduler, engine):
    class Failing(Echo):
        def run_step(self, chunks, n_sections, goes_on):
            raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        evaluate(scheduler, Failing(), [1])
    assert evaluate(scheduler, engine, [1]) == [1]


@pytest.mark.parametrize("n_waiting", (1, 5))
def test_stopping_ends_everybody_with_its_error(engine, n_waiting):
    scheduler, called = Scheduler(64), []
    engine.held()
    threads = [run_aside(lambda: evaluate(scheduler, engine, [1])) for _ in range(n_waiting)]
    assert engine.in_step.wait(SECONDS)
    stopping, _ = run_aside(lambda: scheduler.stop(lambda: ModelClosed("gone"), lambda: called.append(1)))
    while not scheduler._worker._stopping:
        time.sleep(0.001)
    engine.go_on.set()
    join(stopping, *(thread for thread, _ in threads))
    assert all(isinstance(found[0], ModelClosed) for _, found in threads)
    assert called == [1]
    with pytest.raises(ModelClosed):
        evaluate(scheduler, engine, [1])


def test_calls_of_one_kind_are_made_together_between_steps_in_the_schedulers_thread(scheduler, engine):
    engine.held()
    evaluating, _ = run_aside(lambda: evaluate(scheduler, engine, [1]))
    assert engine.in_step.wait(SECONDS)
    together = []

    def run(wanted):
        together.append((threading.current_thread(), engine.go_on.is_set(), len(wanted)))
        return [2 * each for each in wanted]

    calls = [run_aside(lambda i=i: scheduler.call(ScriptedSequence(), i, run)) for i in range(3)]
    while scheduler._worker.inbox.qsize() < 3:
        time.sleep(0.001)
    engine.go_on.set()
    join(evaluating, *(thread for thread, _ in calls))
    assert [found for _, found in calls] == [[0], [2], [4]]
    assert together == [(scheduler._thread, True, 3)]


def test_a_call_that_fails_or_is_cancelled(scheduler, engine):
    def fail(wanted):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="disk"):
        scheduler.call(ScriptedSequence(), 1, fail)
    with pytest.raises(Cancelled):
        scheduler.call(ScriptedSequence(), 1, fail, is_cancelled=lambda: True)
    assert evaluate(scheduler, engine, [1]) == [1]


def test_stopping_ends_calls_that_wait(engine):
    scheduler = Scheduler(64)
    engine.held()
    evaluating, _ = run_aside(lambda: evaluate(scheduler, engine, [1]))
    assert engine.in_step.wait(SECONDS)
    calling, found = run_aside(lambda: scheduler.call(ScriptedSequence(), 1, list))
    while scheduler._worker.inbox.empty():
        time.sleep(0.001)
    stopping, _ = run_aside(lambda: scheduler.stop(lambda: ModelClosed("gone"), lambda: None))
    while not scheduler._worker._stopping:
        time.sleep(0.001)
    engine.go_on.set()
    join(stopping, evaluating, calling)
    assert isinstance(found[0], ModelClosed)
    with pytest.raises(ModelClosed):
        scheduler.call(ScriptedSequence(), 1, list)


def test_a_scheduler_that_nobody_holds_ends_and_lets_go_of_the_engine():
    before = threading.active_count()
    scheduler, engine = Scheduler(64), Echo()
    assert evaluate(scheduler, engine, [1]) == [1]
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
    del scheduler
    gc.collect()
    assert threading.active_count() == before


def test_a_scheduler_without_work_takes_no_time(scheduler, engine):
    """It waits for its inbox without an end."""
    evaluate(scheduler, engine, [1])
    before = time.process_time()
    time.sleep(0.3)
    assert time.process_time() - before < 0.1
