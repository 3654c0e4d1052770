"""Answers and models for event loops: events come as they are made, and leaving ends the work."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading

import pytest

import glmq
from glmq.chat.events import ContentText, ReasoningText
from glmq.event_loop import from_thread, in_thread
from glmq.load_on_loop import LoadSettings

from .scripted_chat import Script
from .test_closing import FREE, QUESTION, SECONDS, Waiting

LOOP = threading.get_ident


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, SECONDS))


def scripted(model, monkeypatch, *replies):
    script = Script(replies)
    monkeypatch.setattr(
        type(model), "generate", lambda model, prompt, **more: script.generate(model, prompt, **more)
    )


@pytest.fixture
def session(small):
    return small.session()


def test_events_are_those_of_a_thread(glm_4_7, monkeypatch):
    async def events():
        answer = await glm_4_7.achat(QUESTION)
        return [event async for event in answer.aevents()], answer

    scripted(glm_4_7, monkeypatch, "Hm.</think>Hello there.", "Hm.</think>Hello there.")
    found, answer = run(events())
    assert found == list(glm_4_7.chat(QUESTION).events())
    assert {type(event) for event in found} == {ReasoningText, ContentText}
    assert (answer.content, answer.finish_reason, answer.done) == ("Hello there.", "stop", True)


def test_async_for_gives_pieces_of_text(glm_4_7, small, monkeypatch):
    async def pieces(answer):
        return "".join([piece async for piece in answer])

    alone = small.generate("x", sampling=FREE, max_tokens=8).run()
    assert run(pieces(small.generate("x", sampling=FREE, max_tokens=8))) == alone
    scripted(glm_4_7, monkeypatch, "Hm.</think>Hello.", "Hm.</think>Hello.")
    assert run(pieces(glm_4_7.chat(QUESTION))) == "Hello."
    assert run(glm_4_7.chat(QUESTION).arun()) == "Hello."


def test_the_loop_goes_on_while_an_answer_is_made(small):
    async def both():
        guide = Waiting()
        answer = asyncio.create_task(
            small.generate("x", sampling=FREE, constraint=guide, max_tokens=5).arun()
        )
        while not guide.waits.is_set():
            await asyncio.sleep(0)
        guide.go_on.set()
        return await answer

    assert isinstance(run(both()), str)


def test_many_answers_at_once_are_those_of_each_alone(small):
    async def all_of_them():
        return await asyncio.gather(
            *(small.generate(text, seed=1, max_tokens=6).arun() for text in "abcdefgh")
        )

    assert run(all_of_them()) == [small.generate(text, seed=1, max_tokens=6).run() for text in "abcdefgh"]


def test_cancelling_the_task_ends_the_answer_at_the_next_token(small, session):
    async def cancelled():
        guide = Waiting()
        generation = small.generate("x", sampling=FREE, constraint=guide, session=session)
        task = asyncio.create_task(generation.arun())
        while not guide.waits.is_set():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done(), "it waits until the thread has let go of the session"
        guide.go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        session.rewind(0)
        return generation

    generation = run(cancelled())
    assert generation.finish_reason == "cancelled"
    assert len(generation.tokens) == 3


def test_leaving_the_events_ends_the_answer(small, session):
    async def left():
        answer = small.chat(QUESTION, sampling=FREE, session=session)
        events = answer.aevents()
        async for _ in events:
            break
        await events.aclose()
        return answer

    assert run(left()).finish_reason == "cancelled"
    session.rewind(0)


def test_leaving_a_block_ends_the_answer(small, session):
    async def left():
        async with small.chat(QUESTION, sampling=FREE, session=session) as answer:
            async for _ in answer.aevents():
                break
        session.rewind(0)
        return answer

    answer = run(left())
    assert answer.done and answer.finish_reason == "cancelled"


def test_errors_come_to_who_waits(small):
    class Failing(Waiting):
        def mask(self, logits):
            raise glmq.GlmqError("no further")

    with pytest.raises(glmq.GlmqError, match="no further"):
        run(small.generate("x", constraint=Failing()).arun())
    with pytest.raises(TypeError, match="did you mean max_tokens"):
        run(small.achat(QUESTION, max_token=5))


def test_progress_is_told_in_the_loops_thread(small):
    told = []

    async def asked():
        answer = await small.achat(
            QUESTION, progress=lambda done, wanted: told.append((done, wanted, LOOP())), max_tokens=1
        )
        await answer.arun()
        return answer.generation.prompt

    prompt = run(asked())
    assert told == [(len(prompt), len(prompt), LOOP())]


def test_a_model_is_loaded_beside_the_loop(small_path):
    told = []

    async def loaded():
        model = await glmq.aload(small_path, n_ctx=64, progress=lambda *what: told.append((LOOP(), *what)))
        with model:
            return model.n_ctx

    assert run(loaded()) == 64
    assert {thread for thread, _, _ in told} <= {LOOP()}
    with pytest.raises(glmq.GlmqError, match="is missing|no such file|does not exist|cannot"):
        run(glmq.aload(small_path.with_name("none.gguf")))


def test_loading_beside_a_loop_takes_what_loading_takes_and_imports_nothing_large_on_the_loop():
    names = list(inspect.signature(glmq.load).parameters)
    assert names == ["path", *LoadSettings.__annotations__]
    program = "import glmq, glmq.event_loop, sys; glmq.aload; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"


def test_a_model_that_nobody_waits_for_any_more_is_closed(small_path, monkeypatch):
    from glmq import load_model

    began, go_on, closed = threading.Event(), threading.Event(), threading.Event()
    open_gguf = load_model.open_gguf

    def slow(path):
        began.set()
        assert go_on.wait(SECONDS)
        return open_gguf(path)

    monkeypatch.setattr(load_model, "open_gguf", slow)
    monkeypatch.setattr(glmq.Model, "close", lambda model: closed.set())

    async def given_up():
        loading = asyncio.create_task(glmq.aload(small_path))
        await asyncio.to_thread(began.wait, SECONDS)
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading

    run(given_up())
    go_on.set()
    assert closed.wait(SECONDS)


def test_what_a_thread_posts_comes_in_order_and_then_its_error():
    def work(post):
        for n in range(100):
            post(n)
        raise ValueError("at the end")

    async def taken():
        items = from_thread(work, lambda: None)
        found = [await anext(items) for _ in range(100)]
        with pytest.raises(ValueError, match="at the end"):
            await anext(items)
        return found

    assert run(taken()) == list(range(100))


def test_a_loop_that_ends_meanwhile_ends_the_work():
    ended, go_on = threading.Event(), threading.Event()

    def work(post):
        post(0)
        assert go_on.wait(SECONDS)
        post(1)

    loop = asyncio.new_event_loop()
    items = from_thread(work, ended.set)
    assert loop.run_until_complete(anext(items)) == 0
    loop.close()
    go_on.set()
    assert ended.wait(SECONDS)


def test_work_in_a_thread_gives_its_result_or_its_error():
    async def both():
        assert await in_thread(lambda: threading.current_thread().name) == "glmq-answer"
        with pytest.raises(ZeroDivisionError):
            await in_thread(lambda: 1 // 0)

    run(both())
