"""Sessions on disk: what is restored goes on as the one that was saved, or is told not to fit."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from glmq_kernels.files.file_writing import FileExists

import glmq
from glmq.errors import WrongSession
from glmq.kv_cache.page_copy import copy_positions
from glmq.saved_state import SavedState
from glmq.session_file import read_extra

from ..saved_sessions import (
    EXTRA,
    TEXT,
    assert_goes_on_alike,
    assert_holds_the_same,
    evaluated,
    greedy,
    saved,
    write_older_file,
)
from ..small_models import write_glm4moe

GREEDY = glmq.Sampling(temperature=0)


@pytest.mark.parametrize("n_ctx", (192, 256, 511))
@pytest.mark.parametrize("n_tokens", (1, 15, 16, 63, 64, 65, 128, 161))
def test_a_restored_session_goes_on_alike_in_a_context_of_any_size(model, path, n_tokens, n_ctx):
    saved = evaluated(model, (TEXT * 2)[:n_tokens])
    saved.save(path, EXTRA)
    restored = model.restore_session(path, n_ctx)
    assert restored.session.n_ctx == n_ctx
    assert restored.extra == EXTRA
    assert_goes_on_alike(restored, saved)


def test_an_empty_session(model, path):
    model.session().save(path)
    restored = model.restore_session(path)
    assert (restored.extra, restored.session.tokens, restored.reason) == ({}, [], None)
    np.testing.assert_array_equal(greedy(restored.session), greedy(model.session()))


def test_the_last_token_drawn_is_kept_so_that_the_next_turn_reads_only_what_is_new(model, path):
    session = model.session()
    messages = [{"role": "user", "content": "hi"}]
    answer = model.chat(messages, session=session, sampling=GREEDY, max_tokens=5)
    messages.append({"role": "assistant", "content": answer.run()})
    session.save(path, {"messages": messages})
    restored = model.restore_session(path)
    assert restored.session.drawn == session.drawn != []
    messages = [*restored.extra["messages"], {"role": "user", "content": "more"}]
    timings = []
    for each in (restored.session, session):
        generation = model.chat(messages, session=each, sampling=GREEDY, max_tokens=2)
        timings.append((generation.run(), generation.timings.n_cached, generation.timings.n_prompt))
    assert timings[0] == timings[1]


def test_two_sessions_of_one_model_in_two_files(model, tmp_path):
    sessions = [evaluated(model, text) for text in (TEXT, TEXT[::-1])]
    for i, session in enumerate(sessions):
        session.save(tmp_path / str(i), {"i": i})
    for i, session in enumerate(sessions):
        restored = model.restore_session(tmp_path / str(i))
        assert restored.extra == {"i": i}
        assert_goes_on_alike(restored, session)


# What does not fit


def assert_only_the_text_is_there(restored, why):
    assert restored.extra == EXTRA
    assert restored.session.tokens == []
    assert why in restored.reason and "\n" not in restored.reason
    assert greedy(restored.session).shape


def test_another_model(small, path, tmp_path):
    saved(small, path)
    before = path.read_bytes()
    with glmq.load(write_glm4moe(tmp_path / "other.gguf", "Q8_0", seed=1)) as other:
        with pytest.raises(WrongSession, match="saved with another model, of the architecture glm4moe"):
            other.restore_session(path)
        with pytest.raises(FileExists):
            other.session().save(path)
        assert path.read_bytes() == before
        assert read_extra(path) == EXTRA


def test_another_type_of_cache(small_path, path):
    with glmq.load(small_path, cache_type="Q8_0") as first:
        saved(first, path)
    with glmq.load(small_path) as second:
        assert_only_the_text_is_there(second.restore_session(path), "a KV cache of type Q8_0, not F16")


@pytest.mark.parametrize("change", ({"layout": 99}, {"page_positions": 48}))
def test_another_layout_of_the_cache(small, path, monkeypatch, change):
    packed = SavedState.packed
    monkeypatch.setattr(SavedState, "packed", lambda state: packed(replace(state, **change)))
    saved(small, path)
    monkeypatch.undo()
    assert_only_the_text_is_there(small.restore_session(path), "another version of glmq")


@pytest.mark.parametrize("n_tokens", (1, 31, 32, 33, 64, 65, 96, 160))
def test_a_file_with_the_pages_of_older_versions_is_read_and_then_written_as_a_new_one(model, path, n_tokens):
    session = evaluated(model, TEXT[:n_tokens])
    write_older_file(path, session)
    restored = model.restore_session(path)
    assert restored.reason is None
    assert_holds_the_same(restored.session, session)
    restored.session.evaluate([1])
    restored.session.save(path)
    assert_goes_on_alike(model.restore_session(path), restored.session)


def test_positions_that_a_session_does_not_hold_are_not_in_its_file(small, path):
    """They may be of another conversation that had the page before."""
    session = evaluated(small, TEXT[:100])
    secret = session.sequence.pages[1].bytes.copy()
    session.rewind(70)
    session.save(path)
    held = np.zeros_like(secret)
    copy_positions(session.sequence.shape, secret, held, 6)
    content = path.read_bytes()
    assert held.tobytes() in content and secret.tobytes() not in content


def test_a_context_that_is_too_small_is_refused_with_the_size_to_choose(small, path):
    saved(small, path)
    with pytest.raises(glmq.ContextFull, match=r"talk\.session holds 160 tokens.* choose a larger one"):
        small.restore_session(path, n_ctx=159)
    assert small.restore_session(path, n_ctx=160).reason is None


def test_the_text_alone_needs_no_model(small, path):
    saved(small, path)
    assert read_extra(path) == EXTRA


def test_the_text_can_be_found_in_the_file_by_eye(small, path):
    """So that it is not lost even when the file is beyond repair."""
    saved(small, path)
    assert json.dumps(EXTRA).encode() in path.read_bytes()


# The fingerprint of a model


def test_a_fingerprint_stays_when_a_file_is_moved_and_touched(small_path, tmp_path):
    moved = tmp_path / "moved.gguf"
    moved.write_bytes(small_path.read_bytes())
    os.utime(moved, (1, 1))
    assert fingerprint(moved) == fingerprint(small_path)


def test_a_fingerprint_tells_metadata_and_every_tensor(small_path, tmp_path):
    content = small_path.read_bytes()
    with glmq.load(small_path) as model:
        places = {name: info.offset + info.n_bytes // 2 for name, info in model.file.tensors.items()}
    places["metadata"] = content.index(b"glm4moe.rope.freq_base") + len(b"glm4moe.rope.freq_base") + 4
    found = {fingerprint(small_path)}
    for place in places.values():
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / "changed.gguf").write_bytes(changed)
        found.add(fingerprint(tmp_path / "changed.gguf"))
    assert len(found) == len(places) + 1


def fingerprint(path):
    from glmq.gguf import open_gguf

    with open_gguf(path) as file:
        return file.fingerprint
