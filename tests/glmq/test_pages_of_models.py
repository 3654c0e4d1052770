"""Models evaluate with pages of the KV cache that are shared, copied, and used before for other things."""

from __future__ import annotations

import numpy as np
import pytest

import glmq
from glmq.kv_cache import page_pool

TEXT = "A text that many requests begin with, of a length that fills several pages and one in part. " * 3


@pytest.fixture(scope="module", params=("F16", "Q8_0", "F32"))
def cache_type(request):
    return request.param


@pytest.fixture(scope="module")
def model(small_path, cache_type):
    with glmq.load(small_path, n_ctx=512, cache_type=cache_type, activations="f32") as loaded:
        yield loaded


def steps(session, tokens):
    """Logits after a prompt in chunks and after single tokens behind it."""
    found = [session.evaluate(chunk) for chunk in np.array_split(tokens[:-8], 3)]
    return np.array([*found, *(session.evaluate([token]) for token in tokens[-8:])])


def assert_close(some, others):
    """To the rounding of the batch form."""
    assert np.abs(some - others).max() < 2e-3 * np.ptp(others)


def test_what_was_in_a_page_before_changes_nothing(small_path, cache_type, model, monkeypatch):
    """Not even numbers that are not finite, which 0 times does not make 0."""
    plain = page_pool._memory
    monkeypatch.setattr(page_pool, "_memory", lambda n_bytes: plain(n_bytes) | 0xFF)
    tokens = model.tokenize(TEXT)
    with glmq.load(small_path, n_ctx=512, cache_type=cache_type, activations="f32") as other:
        found = steps(other.session(), tokens)
    np.testing.assert_array_equal(found, steps(model.session(), tokens))


def test_a_shared_prefix_gives_the_logits_that_evaluating_it_gives(model):
    tokens = model.tokenize(TEXT)
    first, second = model.session(), model.session()
    expected = steps(first, tokens)
    assert second.sequence.adopt(tokens[:-8]) == (len(tokens) - 8) // 64 * 64
    assert second.sequence.pages[0] is first.sequence.pages[0]
    assert_close(steps(second, tokens[len(second.tokens) :])[-8:], expected[-8:])


def test_sequences_that_part_within_a_page_do_not_disturb_each_other(model):
    tokens = model.tokenize(TEXT)
    first = model.session()
    first.evaluate(tokens[:150])
    first.sequence.publish(partly=True)
    second = model.session()
    assert second.sequence.adopt(tokens[:140]) == 140
    expected = model.session()
    expected.evaluate(tokens[:150])
    second.evaluate(tokens[200:220])
    ours, theirs = (
        np.array([each.evaluate([token]) for token in tokens[150:160]]) for each in (first, expected)
    )
    np.testing.assert_array_equal(ours, theirs)
    alone = model.session()
    alone.evaluate(tokens[:140])
    alone.evaluate(tokens[200:220])
    assert_close(second.evaluate([5]), alone.evaluate([5]))


def test_a_closed_model_gives_the_memory_of_its_pages_back(small_path):
    with glmq.load(small_path, n_ctx=512) as model:
        pool = model._engine.prefix_tree.pool
        model.session().evaluate([1] * 200)
        assert pool.n_bytes > 0
    assert pool.n_bytes == 0


def test_a_restored_session_is_shared_unless_others_are_to_depend_on_tokens_alone(small_path, tmp_path):
    for deterministic in (False, True):
        with glmq.load(small_path, n_ctx=512, deterministic=deterministic) as model:
            tokens = model.tokenize(TEXT)
            if not deterministic:
                session = model.session()
                session.evaluate(tokens)
                session.save(tmp_path / "a")
        with glmq.load(small_path, n_ctx=512, deterministic=deterministic) as model:
            restored = model.restore_session(tmp_path / "a").session
            restored.evaluate([1] * 100)
            found = model.session().sequence.adopt(tokens)
            assert found == (0 if deterministic else len(tokens))
            assert restored.sequence.adopt(tokens) == len(tokens)


def test_what_the_cache_does_is_counted(small_path):
    with glmq.load(small_path, n_ctx=512) as model:
        tokens = model.tokenize(TEXT)
        for _ in range(2):
            model.generate(tokens, max_tokens=1).run()
        counts = model.kv_cache
        assert (counts.n_used, counts.n_idle) == (0, -(-len(tokens) // 64))
        assert (counts.n_tokens, counts.n_hits) == (2 * len(tokens) - 2, len(tokens) - 1)
        assert (
            f"0 MB in use and {counts.n_idle * counts.page_bytes / 1e6:.0f} MB kept for later"
            in counts.line()
        )
