"""A prompt kept on disk for programs."""

from __future__ import annotations

import pytest

from glmq.prompt_cache import prompt_session

from .saved_sessions import TEXT


@pytest.fixture
def path(tmp_path):
    return tmp_path / "talk.session"


def test_a_kept_prompt_is_evaluated_once(small, path):
    calls = []
    for _ in range(2):
        session = prompt_session(small, path, TEXT, progress=lambda *done: calls.append(done))
        assert session.tokens == small.tokenize(TEXT)
    assert calls == [(160, 160)]
    generation = small.generate(TEXT + "And?", session=session, max_tokens=1)
    generation.run()
    assert generation.timings.n_cached == 160


def test_a_prompt_that_has_changed_is_evaluated_from_the_change_on(small, path):
    prompt_session(small, path, TEXT)
    calls = []
    changed = TEXT[:100] + "!"
    assert prompt_session(
        small, path, small.tokenize(changed), progress=lambda *done: calls.append(done)
    ).tokens == small.tokenize(changed)
    assert calls == [(1, 1)]
    assert small.restore_session(path).session.tokens == small.tokenize(changed)
