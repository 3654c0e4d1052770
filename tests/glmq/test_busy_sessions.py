"""A session is used by one answer at a time, and only with its own model."""

from __future__ import annotations

import copy
import gc
import pickle
import signal
import threading
import time

import numpy as np
import pytest

import glmq

from .test_closing import FREE, QUESTION, SECONDS, Waiting, join, run_aside

GREEDY = glmq.Sampling(temperature=0)


@pytest.fixture
def session(small):
    return small.session()


@pytest.fixture
def running(small, session):
    """An answer that has begun and waits to be asked for more."""
    generation = small.generate("x", sampling=FREE, session=session, max_tokens=200)
    next(iter(generation))
    return generation


def test_a_second_answer_on_a_session_that_is_answering_is_refused(small, session, running):
    second = small.generate("y", session=session)
    with pytest.raises(glmq.SessionBusy, match="answering") as caught:
        second.run()
    assert isinstance(caught.value, glmq.GlmqError)
    assert second.finish_reason == "cancelled"
    with pytest.raises(glmq.SessionBusy):
        small.chat(QUESTION, session=session).run()


def test_the_first_answer_is_not_disturbed(small, session):
    alone = small.generate("x", sampling=FREE, session=small.session(), max_tokens=30).run()
    first = small.generate("x", sampling=FREE, session=session, max_tokens=30)
    pieces = []
    for piece in first:
        pieces.append(piece)
        with pytest.raises(glmq.SessionBusy):
            small.generate("y", session=session).run()
    assert "".join(pieces) == alone


@pytest.mark.parametrize(
    "use",
    (
        lambda session, path: session.evaluate([1]),
        lambda session, path: session.evaluate_all([1]),
        lambda session, path: session.rewind(0),
        lambda session, path: session.save(path),
    ),
    ids=("evaluate", "evaluate_all", "rewind", "save"),
)
def test_a_busy_session_is_neither_evaluated_nor_rewound_nor_saved(session, running, use, tmp_path):
    tokens = list(session.tokens)
    with pytest.raises(glmq.SessionBusy):
        use(session, tmp_path / "a.session")
    assert session.tokens == tokens
    assert not list(tmp_path.iterdir())


def test_another_thread_is_refused_too(small, session):
    guide = Waiting()
    thread, found = run_aside(small.generate("x", constraint=guide, session=session, max_tokens=5).run)
    assert guide.waits.wait(SECONDS)
    with pytest.raises(glmq.SessionBusy):
        small.generate("y", session=session).run()
    with pytest.raises(glmq.SessionBusy):
        session.evaluate([1])
    guide.go_on.set()
    join(thread)
    assert isinstance(found[0], str)
    small.generate("y", session=session, max_tokens=1).run()


def test_evaluations_of_one_session_by_many_threads_never_mix(small):
    session = small.session()
    begin, busy = threading.Barrier(8), []

    def evaluate():
        begin.wait(SECONDS)
        try:
            session.evaluate([1] * 20)
        except glmq.SessionBusy:
            busy.append(1)

    threads = [run_aside(evaluate) for _ in range(8)]
    for thread, _ in threads:
        join(thread)
    assert session.tokens == [1] * 20 * (8 - len(busy))


ENDS = {
    "exhausted": lambda generation: generation.run(),
    "cancelled": lambda generation: generation.cancel(),
    "closed": lambda generation: iter(generation).close(),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_session_is_free_when_its_answer_has_ended(small, session, end):
    generation = small.generate("x", sampling=FREE, session=session, max_tokens=5)
    next(iter(generation))
    end(generation)
    assert generation.finish_reason is not None
    session.rewind(0)
    assert small.generate("y", session=session, max_tokens=2).run() is not None


def test_a_session_is_free_as_soon_as_nobody_has_its_answer(small, session):
    gc.disable()
    try:
        for _ in small.generate("x", sampling=FREE, session=session, max_tokens=50):
            break
        session.rewind(0)
        for _ in small.chat(QUESTION, sampling=FREE, session=session, max_tokens=50).events():
            break
        session.rewind(0)
    finally:
        gc.enable()


def test_a_session_is_free_after_an_error(small, session):
    class Failing(Waiting):
        def mask(self, logits):
            raise glmq.GlmqError("no further")

    generation = small.generate("x", constraint=Failing(), session=session)
    with pytest.raises(glmq.GlmqError, match="no further"):
        generation.run()
    session.rewind(0)
    with pytest.raises(glmq.ContextFull):
        small.generate("x" * 1000, session=session).run()
    session.rewind(0)


def test_what_is_cancelled_does_not_come_back(small, session, running):
    """Who goes on with a cancelled answer, whose session another one uses now, gets nothing more of it."""
    running.cancel()
    other = small.generate("other", sampling=GREEDY, session=session, max_tokens=10)
    first = next(iter(other))
    running.run()
    text = first + "".join(other)
    assert text == small.generate("other", sampling=GREEDY, session=small.session(), max_tokens=10).run()


def test_an_answer_that_is_not_begun_makes_nobody_wait(small, session):
    small.generate("x", session=session)
    later = small.generate("y", session=session, max_tokens=1)
    small.generate("z", session=session, max_tokens=1).run()
    later.run()


def test_answers_without_a_session_do_not_meet(small):
    alone = [small.generate(p, sampling=GREEDY, session=small.session(), max_tokens=12).run() for p in "abc"]
    generations = [small.generate(prompt, sampling=GREEDY, max_tokens=12) for prompt in "abc"]
    iterators = [iter(generation) for generation in generations]
    while any(generation.finish_reason is None for generation in generations):
        for iterator in iterators:
            next(iterator, None)
    assert [generation.text for generation in generations] == alone


def test_chats_without_a_session_in_threads_do_not_meet(small):
    questions = [[{"role": "user", "content": text}] for text in ("one", "two", "three", "four")]

    def ask(question, **session):
        return small.chat(question, sampling=GREEDY, max_tokens=12, **session).run()

    alone = [ask(question, session=small.session()) for question in questions]
    threads = [run_aside(lambda question=question: ask(question)) for question in questions]
    for thread, _ in threads:
        join(thread)
    assert [found[0] for _, found in threads] == alone


def test_what_one_answer_has_evaluated_another_uses_again(small):
    first = small.generate("The same beginning", sampling=GREEDY, max_tokens=9)
    pieces = iter(first)
    next(pieces)
    small.generate("Something else", max_tokens=1).run()
    list(pieces)
    again = small.generate("The same beginning", max_tokens=1)
    again.run()
    assert again.timings.n_cached == len("The same beginning") - 1


def test_a_chat_without_a_session_goes_on_with_the_tokens_that_were_drawn(small):
    messages = [{"role": "user", "content": "hi"}]
    first = small.chat(messages, sampling=FREE, max_tokens=12)
    text = first.run()
    small.chat([{"role": "user", "content": "something else"}], max_tokens=2).run()
    messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "more"}]
    second = small.chat(messages, max_tokens=2)
    second.run()
    assert second.timings.n_cached >= len(first.generation.prompt)
    if "\ufffd" not in text:
        told = first.generation.prompt + first.generation.tokens
        assert second.generation.prompt[: len(told)] == told


def test_an_answer_gives_its_memory_back_however_it_ends(small):
    small.generate("x" * 100, max_tokens=3).run()
    cancelled = small.generate("y" * 100, sampling=FREE)
    next(iter(cancelled))
    cancelled.cancel()
    cancelled.run()
    for _ in small.generate("z" * 100, sampling=FREE):
        break
    with pytest.raises(glmq.ContextFull):
        small.generate("x" * 1000).run()
    statistics = small._engine.prefix_tree.statistics()
    assert statistics.n_used == 0 and statistics.n_cached > 0


def test_a_prompt_for_which_sessions_leave_no_memory_is_refused_in_words(small, session):
    small._engine.prefix_tree.pool.max_pages = 3
    session.evaluate([1] * 128)
    refused = small.generate("x" * 100)
    with pytest.raises(glmq.OutOfPages, match="need more memory for keys and values"):
        refused.run()
    session.rewind(0)
    assert small.generate("x" * 100, sampling=FREE, max_tokens=2).run() is not None


def test_an_answer_that_runs_out_of_memory_ends_with_its_context(small, session):
    small._engine.prefix_tree.pool.max_pages = 3
    session.evaluate([1] * 128)
    answer = small.generate("x" * 60, sampling=FREE, constraint=Waiting(at=1000))
    answer.run()
    assert answer.finish_reason == "context"
    assert len(answer.tokens) == 5


def test_ctrl_c_inside_a_long_prompt_comes_before_it_is_read(small_path):
    """The step is given up between two layers."""
    with glmq.load(small_path, n_ctx=512) as model:
        session, layers = model.session(), []
        run = model._program.tape.run

        def slowly(*arguments):
            layers.append(1)
            if len(layers) == 1:
                signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
                time.sleep(0.3)
            return run(*arguments)

        model._program.tape.run = slowly
        with pytest.raises(KeyboardInterrupt):
            session.evaluate(list(range(300)))
        assert session.tokens == [] and len(layers) < 3
        assert np.isfinite(session.evaluate(list(range(300)))).all()


def test_a_session_of_another_model_is_refused(small, small_path):
    with glmq.load(small_path) as other:
        theirs = other.session()
        for use in (
            lambda: small.generate("x", session=theirs),
            lambda: small.chat(QUESTION, session=theirs),
        ):
            with pytest.raises(glmq.WrongSession, match=r"another model, small\.gguf"):
                use()
    with pytest.raises(glmq.WrongSession):
        small.generate("x", session=theirs)


def test_cancelling_inside_a_long_prompt_ends_it_between_batches(small, session):
    small._engine.scheduler.max_tokens = 16
    generation = small.generate(
        "x" * 200, session=session, progress=lambda done, wanted: done >= 32 and generation.cancel()
    )
    assert generation.run() == ""
    assert generation.finish_reason == "cancelled"
    assert session.tokens == small.tokenize("x" * 32)
    again = small.generate("x" * 200, session=session, sampling=GREEDY, max_tokens=5)
    text = again.run()
    assert again.timings.n_cached == 32
    assert text == small.generate("x" * 200, session=small.session(), sampling=GREEDY, max_tokens=5).run()


def test_cancelling_before_the_beginning_reads_nothing(small, session):
    generation = small.generate("x" * 100, session=session)
    generation.cancel()
    assert (generation.run(), generation.finish_reason, session.tokens) == ("", "cancelled", [])


def test_what_was_held_back_comes_when_an_answer_is_cancelled(small, session):
    generation = small.generate("x", sampling=FREE, session=session, max_tokens=50)
    pieces = iter(generation)
    text = next(pieces)
    generation.cancel()
    assert generation.finish_reason == "cancelled"
    assert text + "".join(pieces) == generation.text


@pytest.mark.parametrize("copied", (copy.copy, copy.deepcopy, pickle.dumps))
def test_a_copy_that_would_share_keys_and_values_is_refused(small, session, copied):
    with pytest.raises(TypeError, match="session cannot be copied or pickled; save it"):
        copied(session)
    with pytest.raises(TypeError, match="model cannot be copied or pickled; load its file again"):
        copied(small)
