"""Sessions on disk: what is restored goes on as the one that was saved, whatever happens to the file."""

from __future__ import annotations

import json
import os
import random
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import FileExists
from glmq_kernels.ops.attention.cache_layout import CACHE_TYPES

import glmq
from glmq import commit_file
from glmq.errors import WrongSession
from glmq.kv_cache.page_copy import copy_positions
from glmq.saved_state import SavedState
from glmq.session_file import read_extra

from .saved_sessions import (
    EXTRA,
    TEXT,
    assert_goes_on_alike,
    assert_holds_the_same,
    evaluated,
    greedy,
    saved,
    write_older_file,
)
from .small_models import write_glm4moe

GREEDY = glmq.Sampling(temperature=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "talk.session"


@pytest.fixture(scope="module", params=(*CACHE_TYPES, pytest.param("Q8_0/Q4_0", marks=pytest.mark.slow)))
def model(request, small_path):
    with glmq.load(small_path, n_ctx=256, cache_type=request.param) as loaded:
        yield loaded


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


# Saving again


def test_every_one_of_many_saves_is_restored(model, path):
    """Turns, rewinds and restores in a random order; after each save the file holds just that."""
    chance = random.Random(0)
    session = model.session()
    for turn in range(30):
        session.rewind(chance.randint(len(session.tokens) // 2, len(session.tokens)))
        if len(session.tokens) < 150:
            for _ in range(chance.randint(1, 3)):
                session.evaluate([chance.randrange(256) for _ in range(chance.randint(1, 20))])
        session.drawn = [turn]
        session.save(path, {"turn": turn})
        restored = model.restore_session(path, chance.choice((200, 256, 300)))
        assert (restored.extra, restored.reason) == ({"turn": turn}, None)
        assert (restored.session.tokens, restored.session.drawn) == (session.tokens, session.drawn)
        assert_holds_the_same(restored.session, session)
        if chance.random() < 0.3:
            session = restored.session
    assert_goes_on_alike(model.restore_session(path), session)


def writes_of(monkeypatch):
    """Collects the sizes of what is written from now on."""
    sizes = []
    plain = commit_file.write_at

    def write_at(file, position, data):
        sizes.append(len(memoryview(data).cast("B")))
        plain(file, position, data)

    monkeypatch.setattr(commit_file, "write_at", write_at)
    return sizes


def test_a_save_writes_only_pages_that_are_new(model, path, monkeypatch):
    session = evaluated(model, TEXT[:150])
    session.save(path)
    page = session.sequence.shape.page_bytes
    for get in (lambda: session, lambda: model.restore_session(path).session):
        going_on = get()
        going_on.evaluate([1, 2, 3])
        sizes = writes_of(monkeypatch)
        going_on.save(path)
        assert sizes.count(page) == 1, "the third page alone has changed"
        assert sum(sizes) < page + 4096


def test_tokens_that_were_evaluated_anew_are_written_again_even_when_they_are_the_same(model, path):
    """Their keys and values may differ in the last bit."""
    session = evaluated(model)
    session.save(path)
    tokens = list(session.tokens)
    session.rewind(10)
    for token in tokens[10:]:
        session.evaluate([token])
    session.save(path)
    assert_goes_on_alike(model.restore_session(path), session)


def test_the_file_does_not_grow_by_turns_that_change_nothing(model, path):
    session = evaluated(model)
    sizes = []
    for _ in range(12):
        session.save(path, EXTRA)
        sizes.append(path.stat().st_size)
    assert max(sizes) == max(sizes[:3])


def test_a_conversation_begun_anew_gives_the_space_back(model, path):
    session = evaluated(model, TEXT * 3, n_ctx=500)
    session.save(path)
    large = path.stat().st_size
    session.rewind(10)
    session.save(path)
    assert path.stat().st_size < large / 4
    assert_goes_on_alike(model.restore_session(path), session)


def test_large_extra_takes_several_units(model, path):
    session = evaluated(model, TEXT[:40])
    for n in (1, 300_000, 10, 500_000):
        session.save(path, {"text": "x" * n})
        assert read_extra(path) == {"text": "x" * n}
    assert_goes_on_alike(model.restore_session(path), session)


@pytest.mark.parametrize("n_saves", (1, 2, 3))
def test_what_another_session_has_added_to_a_file_is_not_lost(model, path, n_saves):
    mine = evaluated(model)
    mine.save(path)
    other = model.restore_session(path).session
    for _ in range(n_saves):
        other.rewind(20)
        other.evaluate(model.tokenize("something else, and longer than it was before" * 3))
        other.save(path, {"of": "the other"})
    mine.evaluate([1])
    with pytest.raises(
        FileExists, match=r"talk\.session holds .*turns that another process has added meanwhile"
    ):
        mine.save(path)
    assert model.restore_session(path).extra == {"of": "the other"}
    mine.save(path, force=True)
    mine.evaluate([2])
    mine.save(path)
    assert_goes_on_alike(model.restore_session(path), mine)


def test_the_session_of_another_conversation_is_replaced_only_by_force(model, path):
    evaluated(model).save(path, {"of": "the other"})
    mine = evaluated(model, TEXT[:50])
    with pytest.raises(FileExists, match="holds another conversation"):
        mine.save(path)
    assert model.restore_session(path).extra == {"of": "the other"}
    mine.save(path, force=True)
    assert_goes_on_alike(model.restore_session(path), mine)


def test_a_file_that_was_deleted_or_moved_is_written_anew(model, path):
    session = evaluated(model)
    session.save(path)
    path.rename(path.with_name("moved"))
    session.evaluate([1])
    session.save(path)
    assert len(model.restore_session(path.with_name("moved")).session.tokens) == len(session.tokens) - 1
    assert_goes_on_alike(model.restore_session(path), session)


def test_a_copy_of_a_file_is_gone_on_with(model, path):
    session = evaluated(model)
    session.save(path)
    path.with_name("copy").write_bytes(path.read_bytes())
    session.evaluate([1])
    session.save(path.with_name("copy"))
    assert_goes_on_alike(model.restore_session(path.with_name("copy")), session)


def test_a_save_that_is_interrupted_at_its_very_end_is_known_as_ones_own(model, path, monkeypatch):
    """Ctrl-C when the file has the new state and the session does not know it yet."""
    session = evaluated(model)
    session.save(path)
    whole = commit_file.Save.commit

    def commit(save, new):
        whole(save, new)
        raise KeyboardInterrupt

    session.evaluate([1])
    with monkeypatch.context() as during:
        during.setattr(commit_file.Save, "commit", commit)
        with pytest.raises(KeyboardInterrupt):
            session.save(path)
    session.evaluate([2])
    session.save(path)
    assert_goes_on_alike(model.restore_session(path), session)


def test_a_session_that_goes_from_file_to_file(model, tmp_path):
    session = evaluated(model)
    for name in ("a", "b", "a"):
        session.evaluate([1, 2])
        session.save(tmp_path / name)
    assert_goes_on_alike(model.restore_session(tmp_path / "a"), session)


def test_threads_that_save_to_one_file_leave_the_last_save_of_one_of_them(small, path):
    sessions = [evaluated(small, text) for text in (TEXT, TEXT[::-1])]

    def save(i):
        for turn in range(20):
            sessions[i].rewind(100 + turn)
            sessions[i].evaluate([turn] * 30)
            sessions[i].save(path, {"i": i}, force=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(save, range(2)))
    restored = small.restore_session(path)
    assert_goes_on_alike(restored, sessions[restored.extra["i"]])
    assert list(path.parent.iterdir()) == [path]


def test_a_save_over_a_last_save_whose_text_was_damaged_meanwhile(model, path):
    session = evaluated(model)
    session.save(path, EXTRA)
    path.write_bytes(path.read_bytes().replace(b'"messages"', b'"massages"'))
    session.evaluate([1])
    session.save(path, EXTRA)
    restored = model.restore_session(path)
    assert restored.extra == EXTRA
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


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "not a session file"),
        (b"GGUF" + bytes(10000), "not a session file"),
        (b"GLMQSES9" + bytes(10000), "another version of glmq"),
        (b"GLMQSES1", "damaged"),
        (b"GLMQSES1" + bytes(10000), "damaged"),
    ],
)
def test_files_that_hold_no_session(small, path, content, why):
    path.write_bytes(content)
    for read in (small.restore_session, read_extra):
        with pytest.raises(GlmqError, match=f"talk.session .*{why}"):
            read(path)


@pytest.mark.parametrize("size", (1, 10_000_000))
def test_what_is_no_session_file_is_never_overwritten(small, path, size):
    path.write_bytes(b"x" * size)
    with pytest.raises(GlmqError, match="not a session file"):
        small.session().save(path)
    assert path.read_bytes() == b"x" * size


def test_a_device_or_a_pipe_is_refused(small, path):
    os.mkfifo(path)
    for use in (small.restore_session, small.session().save, read_extra):
        with pytest.raises(GlmqError, match="not a file"):
            use(path)
    assert stat.S_ISFIFO(path.lstat().st_mode)


def test_an_empty_file_is_written_and_a_wholly_damaged_one_only_by_force(small, path):
    path.touch()
    session = saved(small, path)
    assert small.restore_session(path).reason is None
    path.write_bytes(b"GLMQSES1" + bytes(10000))
    for each in (session, small.session()):
        with pytest.raises(FileExists, match="damaged"):
            each.save(path)
    session.save(path, force=True)
    assert small.restore_session(path).reason is None


def test_a_new_file_is_for_its_owner_alone_and_the_mode_of_another_is_kept(small, path):
    session = saved(small, path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    session.rewind(3)
    session.save(path)  # in place
    session.saved_as = ""
    session.save(path)  # as a whole
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_one(small, path):
    path.symlink_to("real")
    session = saved(small, path)
    session.saved_as = ""
    session.save(path)
    assert path.is_symlink()
    assert sorted(each.name for each in path.parent.iterdir()) == ["real", "talk.session"]
    assert_goes_on_alike(small.restore_session(path), session)


def test_all_names_of_a_file_stay_names_of_it(small, path):
    session = evaluated(small, TEXT)
    session.save(path)
    os.link(path, path.with_name("other"))
    session.rewind(1)
    session.save(path)
    assert path.samefile(path.with_name("other"))
    assert_goes_on_alike(small.restore_session(path.with_name("other")), session)


def test_a_write_protected_file_is_left_alone(small, path):
    session = saved(small, path)
    before = path.read_bytes()
    path.chmod(0o444)
    session.evaluate([1])
    with pytest.raises(GlmqError, match="write-protected"):
        session.save(path)
    assert path.read_bytes() == before


def test_paths_that_cannot_be_used(small, tmp_path):
    for path, why in (
        (tmp_path, "a folder"),
        (tmp_path / "none" / "x", "there is no folder"),
        (tmp_path / ("x" * 256), "File name too long"),
    ):
        with pytest.raises(GlmqError, match=why):
            small.session().save(path)
        with pytest.raises(GlmqError):
            small.restore_session(path)
    assert list(tmp_path.iterdir()) == []


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


def test_the_text_can_be_found_in_the_file_by_eye(small, path):
    """So that it is not lost even when the file is beyond repair."""
    saved(small, path)
    assert json.dumps(EXTRA).encode() in path.read_bytes()
