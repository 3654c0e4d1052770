"""How answers end: waited for, cancelled, closed, left; in the thread that takes them and from others."""

from __future__ import annotations

import gc
import threading

import pytest

import glmq

from .test_closing import FREE, QUESTION, SECONDS, Waiting, join, run_aside

KINDS = {
    "generation": lambda model, **more: model.generate("x", sampling=FREE, **more),
    "answer": lambda model, **more: model.chat(QUESTION, sampling=FREE, **more),
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def new(request, small):
    """Makes answers, of one kind or the other."""
    return lambda **more: request.param(small, **more)


@pytest.fixture
def session(small):
    return small.session()


def guided(answer, guide):
    """Give it a guide before it begins."""
    getattr(answer, "generation", answer)._drawing._guide = guide
    return guide


def first(answer):
    return next(answer.events() if hasattr(answer, "events") else iter(answer))


def test_waiting_begins_an_answer_and_brings_it_to_its_end(new):
    answer = new(max_tokens=5)
    assert not answer.done
    assert answer.wait(SECONDS)
    assert answer.done and answer.finish_reason == "length"
    assert answer.usage.completion_tokens == 5
    assert answer.wait(0)
    answer.run()
    assert answer.usage.completion_tokens == 5


def test_waiting_has_a_limit(new):
    answer = new()
    guide = guided(answer, Waiting())
    assert not answer.wait(0.01)
    assert not answer.done
    answer.cancel()
    guide.go_on.set()
    assert answer.wait(SECONDS)
    assert answer.finish_reason == "cancelled"


def test_another_thread_can_wait_for_an_answer(new):
    answer = new(max_tokens=20)
    first(answer)
    thread, found = run_aside(answer.wait)
    answer.run()
    join(thread)
    assert found == [True]


def test_waiting_raises_what_has_ended_it(new):
    class Failing(Waiting):
        def mask(self, logits):
            raise glmq.GlmqError("no further")

    answer = new()
    guided(answer, Failing())
    with pytest.raises(glmq.GlmqError, match="no further"):
        answer.wait(SECONDS)
    assert answer.done


def test_an_answer_that_nobody_holds_ends_also_where_a_thread_makes_it(new, session):
    answer = new(session=session)
    guide = guided(answer, Waiting())
    assert not answer.wait(0)
    assert guide.waits.wait(SECONDS)
    del answer
    guide.go_on.set()
    gc.collect()
    for thread in threading.enumerate():
        if thread.name == "glmq-answer":
            join(thread)
    session.rewind(0)


def test_leaving_a_block_ends_the_answer(new, session):
    with new(session=session) as answer:
        first(answer)
    assert answer.done and answer.finish_reason == "cancelled"
    session.rewind(0)
    assert len(list(answer)) <= 1, "at most what was held back"


def test_leaving_a_block_leaves_an_answer_that_has_ended_as_it_is(new):
    with new(max_tokens=3) as answer:
        answer.run()
    assert answer.finish_reason == "length"


def test_an_answer_that_was_not_begun_is_closed_at_once(new):
    answer = new()
    answer.close()
    assert answer.done and answer.finish_reason == "cancelled"
    assert answer.run() == ""
    assert answer.usage == glmq.Usage()


def test_closing_from_another_thread_waits_for_the_token(small, session):
    guide = Waiting()
    generation = small.generate("x", sampling=FREE, constraint=guide, session=session)
    iterating, found = run_aside(generation.run)
    assert guide.waits.wait(SECONDS)
    closing, _ = run_aside(generation.close)
    assert not generation.wait(0.05) and not generation.done
    guide.go_on.set()
    join(closing)
    join(iterating)
    assert generation.finish_reason == "cancelled"
    assert found == [generation.text]
    session.rewind(0)


def test_closing_from_inside_ends_it_when_that_comes_back(small):
    closed = []

    def progress(done, wanted):
        generation.close()
        closed.append(generation.done)

    generation = small.generate("x", progress=progress)
    assert generation.run() == ""
    assert closed == [False] and generation.finish_reason == "cancelled"


def test_closing_gives_the_memory_back(new, small):
    answer = new()
    first(answer)
    assert small.kv_cache.n_used > 0
    answer.close()
    assert small.kv_cache.n_used == 0


def test_an_answer_tells_what_it_is(new):
    answer = new(max_tokens=3)
    kind = type(answer).__name__
    assert repr(answer) == f"<{kind} '': not ended, 0 tokens>"
    answer.run()
    assert repr(answer).endswith(": length, 3 tokens>")
