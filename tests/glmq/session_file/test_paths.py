"""Paths that sessions are saved to and restored from: what is refused, and what a file keeps."""

from __future__ import annotations

import os
import stat

import pytest
from glmq_kernels.errors import GlmqError
from glmq_kernels.files.file_writing import FileExists

from glmq.session_file import read_extra

from ..saved_sessions import TEXT, assert_goes_on_alike, evaluated, saved


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
