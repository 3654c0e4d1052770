"""Models whose conversations go to the disk while nobody asks for them, and come back."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import glmq

from .small_models import add_prediction, write_glm4moe

GREEDY = glmq.Sampling(temperature=0)
N = 400
"""Tokens of a conversation: seven pages. The pool has eight."""
PROMPTS = [[(7 + seed) * i * i % 251 for i in range(N)] for seed in range(3)]


@pytest.fixture(scope="module")
def predicting_path(tmp_path_factory):
    return write_glm4moe(tmp_path_factory.mktemp("model") / "mtp.gguf", "Q8_0", change=add_prediction)


def small_pool(model, n_pages=8):
    model._engine.prefix_tree.pool.max_pages = n_pages
    return model


@pytest.fixture
def model(small_path, tmp_path):
    with glmq.load(small_path, n_ctx=512, cache_disk="100MB", cache_folder=tmp_path) as loaded:
        yield small_pool(loaded)


def answer(model, prompt, **more):
    generation = model.generate(prompt, sampling=GREEDY, max_tokens=6, **more)
    generation.run()
    return generation


def test_a_conversation_comes_back_and_its_answer_is_the_same(model):
    first = [answer(model, prompt) for prompt in PROMPTS]
    again = [answer(model, prompt) for prompt in PROMPTS]
    assert [each.timings.n_cached for each in again] == [N - 1] * 3
    assert [each.tokens for each in again] == [each.tokens for each in first]
    counts = model.kv_cache
    assert counts.n_returned > 15 and counts.n_reclaimed == 0 and counts.n_lost == 0
    assert "more are on disk, which may have 100 MB;" in counts.line()


@pytest.mark.parametrize("deterministic", (False, True))
def test_logits_are_the_same_bits(small_path, tmp_path, deterministic):
    with glmq.load(
        small_path, n_ctx=512, cache_disk=10**8, cache_folder=tmp_path, deterministic=deterministic
    ) as model:
        small_pool(model)
        session = model.session()
        session.evaluate(PROMPTS[0])
        fork = model.session()
        fork.adopt(PROMPTS[0][:320])
        expected = fork.evaluate([3])
        for each in (session, fork):
            each.sequence.release()
        for prompt in PROMPTS[1:]:
            answer(model, prompt)
        again = model.session()
        assert again.adopt(PROMPTS[0][:320]) == 320
        assert model.kv_cache.n_returned > 0
        np.testing.assert_array_equal(again.evaluate([3]), expected)


def test_a_session_is_saved_from_what_came_back(model, tmp_path):
    for prompt in PROMPTS:
        answer(model, prompt)
    session = model.session()
    assert session.adopt(PROMPTS[0]) == N
    session.save(tmp_path / "a.session")
    session.sequence.release()
    for prompt in PROMPTS[1:]:
        answer(model, prompt)
    restored = model.restore_session(tmp_path / "a.session")
    assert restored.reason is None and restored.session.tokens == PROMPTS[0]
    assert model.kv_cache.n_reclaimed == 0, "restoring has waited until others were written"


def test_drafts_are_as_good_behind_what_came_back(predicting_path, tmp_path):
    with glmq.load(
        predicting_path, n_ctx=512, cache_disk="100MB", cache_folder=tmp_path, draft="mtp"
    ) as model:
        small_pool(model)
        session = model.session()
        session.evaluate(PROMPTS[0])
        session.sequence.release()
        held = model.session()
        held.adopt(PROMPTS[0][:320])
        pages = [page.bytes.copy() for page in held.sequence.pages]
        held.sequence.release()
        for prompt in PROMPTS[1:]:
            answer(model, prompt)
        held.adopt(PROMPTS[0][:320])
        assert model.kv_cache.n_returned > 0
        for page, before in zip(held.sequence.pages, pages, strict=True):
            np.testing.assert_array_equal(page.bytes, before)


def slow_reads(model, monkeypatch):
    """Have each page take a while to come back; gives an event that is set when the first does."""
    file = model._engine.prefix_tree.file
    read, begun = file.read, threading.Event()

    def slowly(place, page):
        begun.set()
        time.sleep(0.3)
        return read(place, page)

    monkeypatch.setattr(file, "read", slowly)
    return begun


def test_a_client_that_goes_away_ends_the_return(model, monkeypatch):
    for prompt in PROMPTS:
        answer(model, prompt)
    begun = slow_reads(model, monkeypatch)
    generation = model.generate(PROMPTS[0], max_tokens=5)
    threading.Thread(target=lambda: begun.wait(20) and generation.cancel()).start()
    began = time.monotonic()
    assert generation.run() == ""
    assert generation.finish_reason == "cancelled" and begun.is_set()
    assert time.monotonic() - began < 2
    assert model.kv_cache.n_used == 0
    monkeypatch.undo()
    assert answer(model, PROMPTS[0]).timings.n_cached == N - 1


def test_a_model_closes_while_pages_come_back(small_path, tmp_path, monkeypatch):
    with glmq.load(small_path, n_ctx=512, cache_disk="100MB", cache_folder=tmp_path) as model:
        small_pool(model)
        for prompt in PROMPTS:
            answer(model, prompt)
        pool, file = model._engine.prefix_tree.pool, model._engine.prefix_tree.file
        begun = slow_reads(model, monkeypatch)
        generation = model.generate(PROMPTS[0], max_tokens=5)
        thread = threading.Thread(target=generation.run)
        thread.start()
        assert begun.wait(20)
    thread.join(20)
    assert not thread.is_alive() and generation.finish_reason == "cancelled"
    assert (pool.n_used, pool.n_bytes, file.n_taken) == (0, 0, 0)


def test_a_disk_that_fails_ends_no_answer(model, monkeypatch):
    first = [answer(model, prompt).tokens for prompt in PROMPTS]

    def fails(place, page):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(model._engine.prefix_tree.file, "read", fails)
    with pytest.warns(RuntimeWarning, match="cannot be read: Input/output error"):
        assert answer(model, PROMPTS[0]).tokens == first[0]
    assert "Input/output error" in model.kv_cache.line()


@pytest.mark.parametrize(
    ("settings", "setting", "told"),
    [
        ({"cache_folder": "missing", "cache_disk": "1GB"}, "cache_folder", "there is no folder .*missing"),
        ({"cache_folder": "."}, "cache_disk", "have no room on a disk; say how much"),
        ({"cache_disk": 5000}, "cache_disk", "takes .* of the disk; allow at least that"),
        ({"cache_disk": "much"}, None, "'much' is not an amount of memory"),
        ({"cache_disk": -1}, None, "cache_disk is -1; it must be more than 0 bytes"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(small_path, settings, setting, told):
    with pytest.raises(glmq.GlmqError, match=told) as caught:
        glmq.load(small_path, **settings)
    assert caught.value.setting == setting
