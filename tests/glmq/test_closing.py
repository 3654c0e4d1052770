"""Closing a model at any moment: answers end as cancelled, later use is refused in words."""

from __future__ import annotations

import gc
import threading
import weakref

import pytest

import glmq

from .disk_models import load_from_disk
from .threads_aside import SECONDS, join, run_aside

FREE = glmq.Sampling(temperature=1.5, top_k=0, top_p=1, min_p=0, seed=1)
QUESTION = [{"role": "user", "content": "Hi"}]


class Waiting:
    """A guide that allows every token, and at one of them waits inside the answer until told to go on."""

    finished = False

    def __init__(self, at=3):
        self._left = at
        self.waits, self.go_on = threading.Event(), threading.Event()

    def forced(self):
        return ()

    def mask(self, logits):
        self._left -= 1
        if self._left == 0:
            self.waits.set()
            assert self.go_on.wait(SECONDS)

    def accept(self, token):
        pass


@pytest.fixture(params=("mapped", "experts on disk"))
def model(request, small_path, monkeypatch):
    if request.param == "mapped":
        loaded = glmq.load(small_path, n_ctx=256)
    else:
        loaded = load_from_disk(monkeypatch, small_path, 5, n_ctx=256)
    with loaded:
        yield loaded


def test_closing_while_another_thread_iterates_ends_the_answer_without_an_exception(model):
    guide = Waiting()
    generation = model.generate("x", sampling=FREE, constraint=guide)
    iterating, found = run_aside(generation.run)
    assert guide.waits.wait(SECONDS)
    closing, closed = run_aside(model.close)
    guide.go_on.set()
    join(iterating)
    join(closing)
    assert (generation.finish_reason, closed) == ("cancelled", [None])
    assert found == [generation.text]


def test_closing_during_a_batch_waits_for_it(model):
    model._engine.scheduler.max_tokens = 16
    steps = []
    read, go_on = threading.Event(), threading.Event()

    def progress(done, wanted):
        steps.append(done)
        read.set()
        assert go_on.wait(SECONDS)

    generation = model.generate("x" * 200, progress=progress)
    iterating, found = run_aside(generation.run)
    assert read.wait(SECONDS)
    model.close()
    go_on.set()
    join(iterating)
    assert (found, generation.finish_reason, steps) == ([""], "cancelled", [16])


@pytest.mark.parametrize("n", (1, 3))
def test_an_iterator_that_is_half_consumed_ends(model, n):
    generation = model.generate("x", sampling=FREE, max_tokens=200)
    pieces = iter(generation)
    for _ in range(n):
        next(pieces)
    assert generation.finish_reason is None
    model.close()
    assert generation.finish_reason == "cancelled"
    assert "".join(pieces) in ("", "\ufffd"), "at most half a character is left"
    assert generation.finish_reason == "cancelled"


def test_an_answer_of_a_chat_that_is_half_consumed_ends(model):
    answer = model.chat(QUESTION, sampling=FREE, max_tokens=200)
    next(answer.events())
    model.close()
    assert answer.finish_reason == "cancelled"
    answer.run()
    assert answer.finish_reason == "cancelled"
    assert answer.message["role"] == "assistant"


def test_an_answer_that_has_ended_stays_as_it_is(model):
    generation = model.generate("x", sampling=FREE, max_tokens=3)
    text = generation.run()
    model.close()
    assert (generation.text, generation.finish_reason) == (text, "length")
    assert list(generation) == []


def test_every_later_use_says_that_the_model_is_closed(model, tmp_path):
    session, path = model.session(), tmp_path / "a.session"
    session.evaluate([1, 2, 3])
    session.save(path)
    generation = model.generate("x")
    answer = model.chat(QUESTION)
    model.close()
    uses = {
        "generate": lambda: model.generate("x"),
        "generate from token ids": lambda: model.generate([1]),
        "generate with a session": lambda: model.generate("x", session=session),
        "an answer that was not begun": answer.run,
        "a generation that was not begun": generation.run,
        "chat": lambda: model.chat(QUESTION),
        "logits": lambda: model.logits([1]),
        "session": model.session,
        "evaluate": lambda: session.evaluate([1]),
        "evaluate_all": lambda: session.evaluate_all([1]),
        "rewind": lambda: session.rewind(0),
        "save": lambda: session.save(path),
        "restore": lambda: model.restore_session(path),
        "record routing": model.record_routing,
    }
    for name, use in uses.items():
        with pytest.raises(
            glmq.ModelClosed, match=r"the model small\.gguf is closed; load it again"
        ) as caught:
            use()
        assert isinstance(caught.value, glmq.GlmqError), name


def test_what_needs_the_file_says_so_and_what_is_there_goes_on(small_path):
    model = glmq.load(small_path)
    model.close()
    for use in (lambda: model.tokenize("x"), lambda: model.detokenize([1]), lambda: model.chat_template):
        with pytest.raises(glmq.ModelClosed):
            use()
    model = glmq.load(small_path)
    tokens = model.tokenize("Hello")
    model.close()
    assert model.detokenize(model.tokenize("Hello")) == model.detokenize(tokens)


def test_closing_again_and_from_many_threads_is_fine(model):
    threads = [run_aside(model.close) for _ in range(8)]
    for thread, found in threads:
        join(thread)
        assert found == [None]
    model.close()


def test_closing_twice_counts_the_use_of_experts_once(small_path, monkeypatch, tmp_path):
    monkeypatch.setattr("glmq.experts.profile.cache_folder", lambda: tmp_path)
    model = load_from_disk(monkeypatch, small_path, 5)
    model.logits([1, 2, 3])
    model.close()
    (profile,) = tmp_path.rglob("*.json")
    once = profile.read_bytes()
    model.close()
    assert profile.read_bytes() == once


@pytest.fixture
def threads_before():
    """The threads that run before a test's model is loaded."""
    return set(threading.enumerate())


def test_closing_ends_all_threads(threads_before, model):
    pieces = iter(model.generate("x", sampling=FREE))
    next(pieces)
    assert set(threading.enumerate()) - threads_before
    model.close()
    assert not set(threading.enumerate()) - threads_before


def test_closing_by_the_handler_of_a_signal_inside_a_batch(model):
    run = model._program.run

    def interrupted(*arguments):
        model.close()
        run(*arguments)

    model._program.run = interrupted
    generation = model.generate("x", sampling=FREE, max_tokens=50)
    generation.run()
    assert generation.finish_reason == "cancelled"
    model.close()


def test_a_model_that_nobody_holds_lives_as_long_as_its_answer(small_path):
    model = glmq.load(small_path, n_ctx=256)
    generation = model.generate("x", sampling=FREE, max_tokens=5, session=model.session())
    pieces = iter(generation)
    next(pieces)
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None
    assert "".join(pieces) == generation.text[1:] or generation.text
    assert generation.finish_reason == "length"


def test_a_model_and_its_running_answers_can_be_forgotten_at_once(small_path, monkeypatch):
    before = threading.active_count()
    for load in (lambda: glmq.load(small_path), lambda: load_from_disk(monkeypatch, small_path, 5)):
        model = load()
        answers = [model.generate("x", sampling=FREE, session=model.session()) for _ in range(3)]
        for answer in answers:
            next(iter(answer))
        del model, answer, answers
        gc.collect()
        assert threading.active_count() == before


def test_closing_may_let_answers_under_way_come_to_their_end(model):
    guide = Waiting()
    generation = model.generate("x", sampling=FREE, constraint=guide, max_tokens=5)
    iterating, _ = run_aside(generation.run)
    assert guide.waits.wait(SECONDS)
    closing, closed = run_aside(lambda: model.close(cancel=False))
    while not model._takes_none:
        pass
    with pytest.raises(glmq.ModelClosed, match="being closed"):
        model.generate("y")
    guide.go_on.set()
    join(iterating, closing)
    assert closed == [None] and generation.finish_reason == "length"
    with pytest.raises(glmq.ModelClosed, match="is closed"):
        model.logits([1])
