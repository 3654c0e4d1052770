"""Session files that are damaged, or whose writing is interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from glmq_kernels.errors import GlmqError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import glmq
from glmq import commit_file
from glmq.session_file import read_extra

from ..saved_sessions import assert_holds_the_same, evaluated

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def saves(small_path, tmp_path_factory):
    """A model, a file of two saves, and the sessions of these saves."""
    path = tmp_path_factory.mktemp("saves") / "talk.session"
    with glmq.load(small_path, n_ctx=256, n_threads=1) as model:
        first = evaluated(model)
        first.save(path, {"save": 0})
        second = model.restore_session(path).session
        second.rewind(100)
        second.evaluate(model.tokenize("and another end of it"))
        second.save(path, {"save": 1})
        yield model, path.read_bytes(), [first, second]


def check_damaged(saves, path):
    """A damaged file gives a save's text with a part of its state, or is refused in a line."""
    model, _, sessions = saves
    try:
        restored = model.restore_session(path)
    except GlmqError as error:
        line = str(error)
    else:
        line = None
    if line is not None:
        assert str(path) in line and "\n" not in line
        return None
    session = sessions[restored.extra["save"]]
    n = len(restored.session.tokens)
    assert restored.session.tokens == session.tokens[:n]
    assert (restored.reason is None) == (n == len(session.tokens))
    assert_holds_the_same(restored.session, session, n)
    assert read_extra(path) == restored.extra
    restored.session.save(path, {"save": "again"})
    again = model.restore_session(path)
    assert (again.extra, again.session.tokens) == ({"save": "again"}, restored.session.tokens)
    return n


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_damage(saves, path, data):
    content = bytearray(saves[1])
    # The two commits and the records are a small part of the file, so most damage is aimed at them.
    records = [content.index(b'{"save": %d}' % i) for i in (0, 1)]
    near = st.one_of(
        st.integers(0, 120),
        st.integers(4096, 4216),
        *(st.integers(at, at + 1500) for at in records),
        st.integers(0, len(content) - 1),
    ).map(lambda at: min(at, len(content) - 1))
    kind = data.draw(st.sampled_from(("flip", "zeros", "cut", "noise", "insert")))
    at = data.draw(near)
    n = data.draw(st.integers(1, 5000))
    if kind == "flip":
        for each in [at, *data.draw(st.lists(near, max_size=3))]:
            content[each] ^= data.draw(st.integers(1, 255))
    elif kind == "zeros":
        content[at : at + n] = bytes(len(content[at : at + n]))
    elif kind == "cut":
        del content[at:]
    elif kind == "noise":
        content[at : at + n] = random.Random(n).randbytes(len(content[at : at + n]))
    else:
        content[at:at] = bytes(n)
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    check_damaged(saves, path)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 10), min_size=9, max_size=9))
def test_commits_of_wild_numbers_with_a_right_checksum(saves, path, fields):
    number, unit_bytes, first_unit, *parts = fields
    commit = commit_file.Commit(number, unit_bytes, first_unit, tuple(parts[:3]), tuple(parts[3:]))
    packed = commit_file._pack(commit)
    path.unlink(missing_ok=True)
    path.write_bytes(packed + saves[1][len(packed) :])
    check_damaged(saves, path)


def test_a_damaged_page_costs_only_what_comes_after_it(saves, path):
    content = bytearray(saves[1])
    with open(path, "w+b", buffering=0) as file:
        file.write(content)
        newest = commit_file.read_contents(file, path)[0]
    content[newest.commit.position(newest.pages[1][0]) + 5] ^= 1
    path.write_bytes(content)
    restored = saves[0].restore_session(path)
    assert len(restored.session.tokens) == 64
    assert "damaged after 64 tokens" in restored.reason
    path.write_bytes(content)
    assert check_damaged(saves, path) == 64


def test_when_the_last_save_cannot_be_read_the_one_before_is_whole(small, path):
    session = small.session()
    session.save(path, {"n_tokens": 0})
    for i in range(8):
        before = list(session.tokens)
        session.rewind(len(before) * 3 // 4)
        session.evaluate([i] * 37)
        session.save(path, {"n_tokens": len(session.tokens)})
        content = path.read_bytes()
        with open(path, "r+b", buffering=0) as file:
            newest = commit_file.read_contents(file, path)[0].commit
            file.seek(commit_file.COMMIT_AT[newest.number % 2] + 20)
            file.write(b"damage")
        restored = small.restore_session(path)
        assert restored.extra == {"n_tokens": len(before)}
        assert (restored.session.tokens, restored.reason) == (before, None)
        path.write_bytes(content)


# Interrupted saves


class Interrupted(OSError):
    """What a full disk raises."""


def test_a_save_that_stops_at_any_write_leaves_the_state_before_or_the_new_one(saves, path, monkeypatch):
    """Half of one write arrives and nothing after it: the disk is full, or the process is gone."""
    model, content, sessions = saves
    plain, lines = commit_file.write_at, []
    for stop in range(100):
        path.write_bytes(content)
        session = model.restore_session(path).session
        session.rewind(70)
        session.evaluate(model.tokenize("a third way to end, of a certain length" * 4))
        n_writes = 0

        def write_at(file, position, data, stop=stop):
            nonlocal n_writes
            n_writes += 1
            if n_writes > stop:
                plain(file, position, bytes(data)[: len(bytes(data)) // 2])
                raise Interrupted(28, "No space left on device")
            plain(file, position, data)

        monkeypatch.setattr(commit_file, "write_at", write_at)
        try:
            session.save(path, {"save": 2})
            break
        except GlmqError as error:
            lines.append(str(error))
        finally:
            monkeypatch.setattr(commit_file, "write_at", plain)
        restored = model.restore_session(path)
        assert restored.extra == {"save": 1}
        assert (restored.session.tokens, restored.reason) == (sessions[1].tokens, None)
        session.save(path, {"save": 2})
        assert model.restore_session(path).session.tokens == session.tokens
    assert lines == [f"{path} cannot be written: No space left on device"] * len(lines)
    assert len(lines) > 4


def test_a_first_save_that_fails_leaves_nothing(small, path, monkeypatch):
    def full(file, position, data):
        raise Interrupted(28, "No space left on device")

    monkeypatch.setattr(commit_file, "write_at", full)
    with pytest.raises(GlmqError, match="No space left on device"):
        evaluated(small).save(path)
    assert list(path.parent.iterdir()) == []


KILLED = """
import sys
import glmq
with glmq.load(sys.argv[1], n_ctx=512, n_threads=1) as model:
    session = model.restore_session(sys.argv[2]).session
    print("ready", flush=True)
    for i in range(10_000):
        session.rewind(i * 37 % len(session.tokens) + 1)
        session.evaluate([i % 256] * (i * 53 % 90 + 1))
        session.save(sys.argv[2], {"n_tokens": len(session.tokens), "last": session.tokens[-1]})
"""


def test_a_process_that_is_killed_while_it_saves_leaves_its_last_save(small, small_path, path):
    session = evaluated(small)
    session.save(path, {"n_tokens": 160, "last": session.tokens[-1]})
    folders = [str(ROOT), str(ROOT / "kernels")]
    chance = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(small_path), str(path)],
            env=os.environ | {"PYTHONPATH": os.pathsep.join(folders)},
            stdout=subprocess.PIPE,
        )
        assert process.stdout.readline() == b"ready\n"
        time.sleep(0.1 + chance.random() / 3)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        restored = small.restore_session(path, n_ctx=512)
        assert restored.reason is None
        tokens = restored.session.tokens
        assert restored.extra == {"n_tokens": len(tokens), "last": tokens[-1]}
