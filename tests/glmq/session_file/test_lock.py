"""A session file belongs to one conversation at a time, and no turn is lost to another one."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import FileExists

import glmq
from glmq import session_file
from glmq.session_file import SessionFile

from ..saved_sessions import EXTRA, assert_goes_on_alike, evaluated, saved
from ..talks import REPLY_PROGRAM, write_script
from ..test_command_line import ENVIRONMENT

IN_USE = "is in use by another conversation of this program; end that conversation, or name another file"


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(session_file, "PATIENCE", 0.0)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# One writer at a time


def test_a_file_in_use_is_refused_to_everybody_else_and_can_be_read(small, path, impatient):
    session = saved(small, path)
    with SessionFile(path) as mine:
        with pytest.raises(GlmqError, match=IN_USE):
            SessionFile(path)
        session.evaluate([1])
        with pytest.raises(GlmqError, match=IN_USE):
            session.save(path, force=True)
        assert small.restore_session(path).extra == EXTRA
        mine.restore(small.session())
        mine.save(evaluated(small), {"of": "the holder"})
        with pytest.raises(GlmqError, match=IN_USE):
            SessionFile(path)
        assert small.restore_session(path).extra == {"of": "the holder"}
    with SessionFile(path) as next_one:
        assert not next_one.is_new


def test_the_lock_outlives_saves_that_write_the_file_anew(small, path):
    with SessionFile(path) as mine:
        for _ in range(3):
            mine.save(evaluated(small), {})  # each another session, so as a whole
            with pytest.raises(GlmqError, match=IN_USE):
                SessionFile(path)
    assert names(path.parent) == ["talk.session"]


def test_a_file_by_other_names_is_the_same_file(small, path):
    saved(small, path)
    path.with_name("link").symlink_to(path)
    os.link(path, path.with_name("hard link"))
    with SessionFile(path):
        for name in ("link", "hard link"):
            with pytest.raises(GlmqError, match=IN_USE):
                SessionFile(path.with_name(name))


def test_a_file_in_which_nothing_is_saved_goes_again(path):
    with SessionFile(path) as mine:
        assert mine.is_new and path.exists()
    assert not path.exists()


def test_an_empty_file_of_others_stays(path):
    path.touch()
    SessionFile(path).close()
    assert path.exists()


@pytest.mark.parametrize("content", (b"precious" * 1000, b"x"))
def test_what_is_no_session_file_is_refused_at_the_start(path, content):
    path.write_bytes(content)
    with pytest.raises(GlmqError, match="is not a session file"):
        SessionFile(path)
    assert path.read_bytes() == content


def test_a_save_waits_for_another_that_is_soon_over(small, path):
    session = saved(small, path)
    holder = SessionFile(path)

    def release(*signal):
        holder.close()

    before = signal.signal(signal.SIGALRM, release)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        session.evaluate([1])
        session.save(path)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert_goes_on_alike(small.restore_session(path), session)


# What happens to the file meanwhile


def test_a_file_that_is_moved_or_deleted_while_it_is_in_use_is_written_anew(small, path):
    with SessionFile(path) as mine:
        session = evaluated(small)
        mine.save(session, {})
        for take_away in (lambda: path.rename(path.with_name("moved")), path.unlink):
            take_away()
            session.evaluate([1])
            mine.save(session, {})
            assert small.restore_session(path).session.tokens == session.tokens
            with pytest.raises(GlmqError, match=IN_USE):
                SessionFile(path)


def test_a_file_that_is_replaced_while_it_is_in_use_is_not_overwritten(small, path):
    other = path.with_name("other.session")
    saved(small, other)
    with SessionFile(path) as mine:
        session = evaluated(small)
        mine.save(session, {})
        other.replace(path)
        for _ in range(2):
            with pytest.raises(FileExists, match="holds another conversation"):
                mine.save(session, {})
        assert small.restore_session(path).extra == EXTRA
        path.write_bytes(b"precious")
        with pytest.raises(GlmqError, match="is not a session file"):
            mine.save(session, {})
        assert path.read_bytes() == b"precious"


def test_a_chat_can_be_restored_again_and_again_while_another_saves(small, path):
    """A reader finds a whole state however many saves overtake it."""
    saved(small, path)
    writer = subprocess.Popen(
        [sys.executable, "-c", SAVES, str(small.path), str(path), "100000"],
        env=ENVIRONMENT, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert writer.stdout.readline() == b"ready\n"
        for _ in range(60):
            restored = small.restore_session(path)
            assert restored.reason is None
            assert restored.extra["n_tokens"] == len(restored.session.tokens)
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()


SAVES = """
import sys
from pathlib import Path
import glmq
from glmq.session_file import SessionFile
with glmq.load(sys.argv[1], n_ctx=256, n_threads=1) as model, SessionFile(Path(sys.argv[2])) as file:
    session = model.session()
    file.restore(session)
    file.save(session, {"n_tokens": len(session.tokens)})
    print("ready", flush=True)
    for i in range(int(sys.argv[3])):
        session.rewind(i * 37 % len(session.tokens) + 1)
        session.evaluate([i % 256] * (i * 53 % 90 + 1))
        file.save(session, {"n_tokens": len(session.tokens)})
"""


# Processes


def test_the_lock_of_a_process_that_is_killed_is_gone_and_its_last_save_whole(small, path):
    saved(small, path)
    chance = random.Random(1)
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVES, str(small.path), str(path), "100000"],
            env=ENVIRONMENT, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert process.stdout.readline() == b"ready\n"
        with pytest.raises(GlmqError, match=rf"is in use by (process {process.pid}|another process);"):
            SessionFile(path)
        time.sleep(chance.random() / 5)
        process.kill()
        process.wait()
        process.stdout.close()
        with SessionFile(path) as mine:
            restored = mine.restore(small.session())
        assert restored.reason is None
        assert restored.extra["n_tokens"] == len(restored.session.tokens)


LIBRARY = """
import sys
import glmq
with glmq.load(sys.argv[1], n_ctx=256, n_threads=1) as model:
    session = model.restore_session(sys.argv[2]).session
    session.evaluate([int(sys.argv[3])])
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        session.save(sys.argv[2], {"of": int(sys.argv[3])})
    except glmq.GlmqError as error:
        print(error)
    else:
        print("saved")
"""


def test_of_two_processes_that_go_on_from_one_file_the_later_is_refused(small, path):
    saved(small, path)
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", LIBRARY, str(small.path), str(path), str(i)],
            env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    first, second = [process.communicate("\n")[0] for process in processes]
    assert first == "saved\n"
    assert "turns that another process has added meanwhile" in second
    assert small.restore_session(path).extra == {"of": 0}


# Where there are no locks


@pytest.mark.parametrize("code", (errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS))
def test_without_locks_no_turn_is_lost_either(small, path, monkeypatch, code):
    def flock(*arguments):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", flock)
    first, second = SessionFile(path), SessionFile(path)
    mine, other = evaluated(small), evaluated(small)
    first.save(mine, {"of": "the first"})
    with pytest.raises(FileExists, match="another conversation"):
        second.save(other, {"of": "the second"})
    mine.evaluate([1])
    first.save(mine, {"of": "the first"})
    assert small.restore_session(path).extra == {"of": "the first"}
    second.close()
    first.close()


# The command line


def test_two_chats_on_one_file(tmp_path, glm_4_7_path, path):
    script = write_script(tmp_path, ["thought</think>answer"] * 3)
    arguments = ["chat", str(glm_4_7_path), "--session", str(path)]
    with subprocess.Popen(
        [sys.executable, REPLY_PROGRAM, str(script), *arguments],
        env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as chat:  # fmt: skip
        while not path.exists():
            assert chat.poll() is None
            time.sleep(0.01)
        missing = tmp_path / "missing.gguf"  # so the file is refused before a model is looked for
        done = subprocess.run(
            [sys.executable, "-m", "glmq", "chat", str(missing), "--session", str(path)],
            env=ENVIRONMENT, input="hi\n", capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 2 and not done.stdout
        assert done.stderr.startswith(f"glmq: error: {path} is in use by ")
        chat.communicate(b"hi\n")
    assert len(session_file.read_extra(path)["messages"]) == 2


@pytest.mark.parametrize("option", ("--session", "--record-routing"))
def test_places_that_cannot_be_written_are_told_before_a_model_is_loaded(tmp_path, option):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG")
    places = {
        "pipe": "pipe cannot be written: it is a pipe, not a file",
        ".": "cannot be written: it is a folder; name a file",
        "misspelt/file": f"cannot be written: there is no folder {tmp_path / 'misspelt'}; create it first",
        "photo.png": "is not a",
        "x" * 300: "cannot be written: File name too long",
    }
    for name, why in places.items():
        done = subprocess.run(
            [sys.executable, "-m", "glmq", "chat", "missing.gguf", option, name],
            env=ENVIRONMENT, cwd=tmp_path, input="hi\n", capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 2
        assert why in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert names(tmp_path) == ["photo.png", "pipe"]


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True
    ).returncode:
        pytest.skip("only the administrator can mount disks")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_disk_that_is_really_full(small, small_disk):
    path = small_disk / "talk.session"
    session = saved(small, path)
    size = path.stat().st_size
    free = os.statvfs(small_disk)
    (small_disk / "filling").write_bytes(bytes(free.f_bavail * free.f_bsize - 4096))
    session.evaluate([1] * 60)
    with pytest.raises(GlmqError, match="cannot be written: No space left on device"):
        session.save(path)
    assert small.restore_session(path).extra == EXTRA
    assert path.stat().st_size == size
    (small_disk / "filling").unlink()
    session.save(path)
    assert_goes_on_alike(small.restore_session(path), session)
    assert names(small_disk) == ["talk.session"]


def test_a_chat_whose_disk_is_full_goes_on_and_the_old_file_stays(monkeypatch, glm_4_7, path):
    from ..talks import new_talk

    talk = new_talk(monkeypatch, glm_4_7, ["thought</think>answer"] * 4, session=path)
    talk.say("one")
    before = path.read_bytes()

    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(glmq.commit_file, "write_at", full)
        with pytest.raises(GlmqError, match="cannot be written: No space left on device"):
            talk.say("two")
    assert path.read_bytes() == before
    assert [message["content"] for message in talk.messages] == ["one", "answer", "two", "answer"]
    talk.say("three")
    talk.chat.kept.close()
    assert len(session_file.read_extra(path)["messages"]) == 6
    assert names(path.parent) == ["talk.session"]
    assert Path(path).stat().st_mode & 0o777 == 0o600
