"""What begins with tens of thousands of tokens of another session has them in the same pages."""

from __future__ import annotations

import pytest

import glmq
from glmq.kv_cache import sequence as sequences

from .small_models import write_glm4moe

N = 20_010
"""Tokens; the last ten are in a page that is not full."""
FULL, N_PAGES = N // 64 * 64, -(-N // 64)
TOKENS = [i * i % 251 for i in range(N)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = write_glm4moe(tmp_path_factory.mktemp("model") / "model.gguf", n_ctx=32_768)
    with glmq.load(path, n_ctx=32_768, cache_type="Q8_0") as loaded:
        yield loaded


@pytest.fixture
def copied(monkeypatch):
    """How many positions were copied from page to page, each time."""
    counts, copy_positions = [], sequences.copy_positions

    def counted(shape, source, target, n):
        counts.append(n)
        copy_positions(shape, source, target, n)

    monkeypatch.setattr(sequences, "copy_positions", counted)
    return counts


def long_session(model):
    """One that holds all tokens, as if it had evaluated them."""
    session = model.session()
    session.sequence.reserve(N)
    for page in session.sequence.pages:
        page.bytes[:] = 0x11
    session.sequence.extend(TOKENS)
    session.sequence.publish()
    return session


def restored_session(model, tmp_path):
    long_session(model).save(tmp_path / "long.session")
    model._engine.prefix_tree.close()
    return model.restore_session(tmp_path / "long.session").session


@pytest.fixture(params=("evaluated", "restored"))
def session(request, model, tmp_path):
    yield long_session(model) if request.param == "evaluated" else restored_session(model, tmp_path)
    model._engine.prefix_tree.close()


def test_another_session_takes_its_pages_and_no_memory(model, session, copied):
    before = model.kv_cache
    others = [model.session() for _ in range(3)]
    for other in others:
        assert other.adopt([*TOKENS, 1]) == FULL
        assert list(other.sequence.pages) == list(session.sequence.pages[: FULL // 64])
    now = model.kv_cache
    assert (now.n_used, now.n_bytes, copied) == (before.n_used, before.n_bytes, [])
    assert now.n_used == N_PAGES


def test_an_answer_that_begins_with_it_takes_one_page(model, session, copied):
    before = model.kv_cache
    answering = model.generate([*TOKENS[:FULL], 1, 2, 3], max_tokens=2, temperature=0)
    next(iter(answering))
    now = model.kv_cache
    assert now.n_used - before.n_used == 1
    assert now.n_hits - before.n_hits == FULL
    assert copied == []


def test_what_parts_from_it_within_a_page_copies_that_one(model, session, copied):
    session.sequence.publish(partly=True)
    before, other = model.kv_cache, model.session()
    assert other.adopt([*TOKENS[: FULL - 30], 300]) == FULL - 30
    assert copied == [] and model.kv_cache.n_used == before.n_used
    other.evaluate([300])
    assert copied == [34] and model.kv_cache.n_used == before.n_used + 1


def test_a_fork_takes_no_page_until_it_is_written_to(model, session, copied):
    before = model.kv_cache
    fork = session.sequence.fork()
    assert model.kv_cache.n_used == before.n_used and copied == []
    fork.reserve(1)
    assert model.kv_cache.n_used == before.n_used + 1 and copied == [N - FULL]
    fork.release(publish=False)
