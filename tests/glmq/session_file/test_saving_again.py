"""Sessions that are saved again and again: what is written, and whose file it is."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import pytest
from glmq_kernels.files.file_writing import FileExists

from glmq import commit_file
from glmq.session_file import read_extra

from ..saved_sessions import EXTRA, TEXT, assert_goes_on_alike, assert_holds_the_same, evaluated


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
